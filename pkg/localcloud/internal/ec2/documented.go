package ec2

import "strings"

// documented returns the filters that AWS documents for a kind of resource and that ask for what is the same for all of them here:
// name=value, and a name alone for what no resource here has.
func documented(r resource) string {
	const operator = " operator.managed=false operator.principal"
	switch r.(type) {
	case *image:
		return `boot-mode=uefi-preferred free-tier-eligible image-allowed image-watermark.source-image-creation-time
			image-watermark.source-image-id image-watermark.source-image-region image-watermark.watermark-creation-time
			image-watermark.watermark-key instance-type-specification.supported-instance-type
			instance-type-specification.unsupported-instance-type public-ssm-parameter-name scan-result.critical-fix-available-since
			scan-result.finding-scan-date scan-result.high-fix-available-since scan-result.highest-finding-severity-label
			scan-result.informational-fix-available-since scan-result.low-fix-available-since scan-result.medium-fix-available-since
			sriov-net-support=simple`
	case *instance:
		return operator + ` block-device-mapping.status=attached boot-mode=uefi-preferred capacity-reservation-id
			capacity-reservation-specification.capacity-reservation-preference=open current-instance-boot-mode ena-support=true
			enclave-options.enabled=false hibernation-options.configured=false host-id hypervisor=xen
			maintenance-options.auto-recovery=default metadata-options.http-protocol-ipv4=enabled
			network-interface.addresses.association.allocation-id network-interface.addresses.association.association-id
			network-interface.addresses.association.carrier-ip network-interface.addresses.association.customer-owned-ip
			network-interface.addresses.association.public-dns-name network-interface.association.carrier-ip
			network-interface.association.customer-owned-ip network-interface.attachment.network-card-index=0
			network-interface.deny-all-igw-traffic network-interface.ipv4-prefixes.ipv4-prefix network-interface.ipv6-address
			network-interface.ipv6-addresses.is-primary-ipv6 network-interface.ipv6-native=false
			network-interface.ipv6-prefixes.ipv6-prefix network-interface.outpost-arn network-interface.public-dns-name
			network-performance-options.bandwidth-weighting=default outpost-arn placement-group-name placement-partition-number
			platform-details=Linux/UNIX private-dns-name-options.enable-resource-name-dns-a-record=false
			private-dns-name-options.enable-resource-name-dns-aaaa-record=false private-dns-name-options.hostname-type=ip-name
			product-code.type requester-id spot-instance-request-id tpm-support usage-operation=RunInstances`
	case *interfaceOf:
		return operator + ` addresses.primary=true association.allocation-id association.association-id association.public-dns-name
			attachment.delete-on-termination=true ipv6-addresses.ipv6-address`
	case *snapshot:
		return `transfer-type`
	case *statusOf:
		return operator + ` application-status.status event.not-before-deadline`
	case *subnet:
		return `customer-owned-ipv4-pool enable-dns64=false enable-lni-at-device-index ipv6-cidr-block-association.association-id
			ipv6-cidr-block-association.state map-customer-owned-ip-on-launch=false private-dns-name-options-on-launch.hostname-type=ip-name
			private-dns-name-options-on-launch.enable-resource-name-dns-a-record=false
			private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record=false`
	case *volume:
		return operator
	case *vpc:
		return `ipv6-cidr-block-association.association-id ipv6-cidr-block-association.ipv6-pool ipv6-cidr-block-association.state`
	case *versionOf:
		return `host-resource-group-arn http-protocol-ipv4 license-configuration-arn network-card-index`
	case *networkACL:
		return `entry.icmp.code entry.icmp.type entry.ipv6-cidr entry.port-range.from entry.port-range.to`
	}
	return ""
}

// filterable returns the values that a filter of the name asks for, and whether there is such a filter.
func filterable(r resource, name string) (values []string, ok bool) {
	if values, ok = r.attribute(name); ok {
		return values, true
	}
	for field := range strings.FieldsSeq(documented(r)) {
		if known, value, has := strings.Cut(field, "="); known == name && has {
			return single(value), true
		} else if known == name {
			return nil, true
		}
	}
	return nil, false
}
