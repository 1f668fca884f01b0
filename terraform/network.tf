# Two zones that offer the instance type, one public subnet in each. Instances have public addresses and no NAT gateway stands in front of them: a NAT
# gateway per zone would cost more than a small fleet, and it protects nothing that the security groups do not protect
# already, since only the load balancer may open a connection to an instance. Where instances shall have no public addresses all the same, or
# one address that somebody else's firewall knows, private = true puts them into subnets of their own, behind a NAT gateway in each zone. The
# cloud on somebody's own machine has no such gateway.

data "aws_availability_zones" "available" {
  state = "available"

  # Leaves out local zones and wavelength zones, where neither the load balancer nor every instance type exists.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

# Not every zone has every type, and the letters of zones are dealt anew to each account.
data "aws_ec2_instance_type_offerings" "zones" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }

  lifecycle {
    postcondition {
      condition     = length(setintersection(self.locations, data.aws_availability_zones.available.names)) >= 2
      error_message = "Instance type ${var.instance_type} is offered in fewer than two zones of this region: choose another instance_type or region."
    }
  }
}

locals {
  zones = sort(setintersection(data.aws_ec2_instance_type_offerings.zones.locations, data.aws_availability_zones.available.names))
}

resource "aws_vpc" "app" {
  cidr_block = var.cidr

  tags = {
    Name = var.app
  }
}

resource "aws_internet_gateway" "app" {
  vpc_id = aws_vpc.app.id

  tags = {
    Name = var.app
  }
}

resource "aws_subnet" "public" {
  count = 2

  vpc_id                  = aws_vpc.app.id
  availability_zone       = local.zones[count.index]
  cidr_block              = cidrsubnet(var.cidr, 2, count.index)
  map_public_ip_on_launch = true

  tags = {
    Name = "${var.app}-public-${count.index}"
  }

  # An account may gain a zone one day, and another type may be offered in others. The subnets stay where they are.
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.app.id

  tags = {
    Name = "${var.app}-public"
  }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.app.id
}

resource "aws_route_table_association" "public" {
  count = length(aws_subnet.public)

  route_table_id = aws_route_table.public.id
  subnet_id      = aws_subnet.public[count.index].id
}

locals {
  private = var.private && !var.local ? 2 : 0

  # Where the fleet is.
  subnets = var.private && !var.local ? aws_subnet.private : aws_subnet.public
}

resource "aws_subnet" "private" {
  count = local.private

  vpc_id            = aws_vpc.app.id
  availability_zone = aws_subnet.public[count.index].availability_zone
  cidr_block        = cidrsubnet(var.cidr, 2, 2 + count.index)

  tags = {
    Name = "${var.app}-private-${count.index}"
  }
}

resource "aws_eip" "nat" {
  count = local.private

  domain = "vpc"

  tags = {
    Name = "${var.app}-nat-${count.index}"
  }
}

resource "aws_nat_gateway" "app" {
  count = local.private

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id

  tags = {
    Name = "${var.app}-${count.index}"
  }

  depends_on = [aws_route.internet]
}

resource "aws_route_table" "private" {
  count = local.private

  vpc_id = aws_vpc.app.id

  tags = {
    Name = "${var.app}-private-${count.index}"
  }
}

resource "aws_route" "nat" {
  count = local.private

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.app[count.index].id
}

resource "aws_route_table_association" "private" {
  count = local.private

  route_table_id = aws_route_table.private[count.index].id
  subnet_id      = aws_subnet.private[count.index].id
}
