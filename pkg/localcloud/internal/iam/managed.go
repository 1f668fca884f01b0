package iam

import "strings"

// managedPolicies returns the documents of those of AWS's own policies that this cloud can decide by, by ARN.
func managedPolicies() map[string]string {
	return map[string]string{
		// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AdministratorAccess.html
		"arn:aws:iam::aws:policy/AdministratorAccess": `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`,
		// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRole.html
		"arn:aws:iam::aws:policy/service-role/AWSCodeDeployRole": `{
			"Version": "2012-10-17",
			"Statement": [{
				"Effect": "Allow",
				"Action": [
					"autoscaling:AttachLoadBalancers", "autoscaling:AttachLoadBalancerTargetGroups", "autoscaling:CompleteLifecycleAction",
					"autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup",
					"autoscaling:DeleteLifecycleHook", "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeLifecycleHooks",
					"autoscaling:DescribeNotificationConfigurations", "autoscaling:DescribePolicies", "autoscaling:DescribeScalingActivities",
					"autoscaling:DescribeScheduledActions", "autoscaling:EnableMetricsCollection", "autoscaling:PutLifecycleHook",
					"autoscaling:PutNotificationConfiguration", "autoscaling:PutScalingPolicy", "autoscaling:PutScheduledUpdateGroupAction",
					"autoscaling:PutWarmPool", "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:ResumeProcesses",
					"autoscaling:SuspendProcesses", "autoscaling:UpdateAutoScalingGroup",
					"cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm",
					"ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:TerminateInstances",
					"elasticloadbalancing:DeregisterInstancesFromLoadBalancer", "elasticloadbalancing:DeregisterTargets",
					"elasticloadbalancing:DescribeInstanceHealth", "elasticloadbalancing:DescribeLoadBalancerAttributes",
					"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeTargetGroupAttributes",
					"elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
					"elasticloadbalancing:RegisterInstancesWithLoadBalancer", "elasticloadbalancing:RegisterTargets",
					"sns:Publish", "tag:GetResources"
				],
				"Resource": "*"
			}]
		}`,
		// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonSSMManagedInstanceCore.html
		"arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore": `{
			"Version": "2012-10-17",
			"Statement": [
				{
					"Effect": "Allow",
					"Action": [
						"ssm:DescribeAssociation", "ssm:GetDeployablePatchSnapshotForInstance", "ssm:GetDocument", "ssm:DescribeDocument",
						"ssm:GetManifest", "ssm:GetParameter", "ssm:GetParameters", "ssm:ListAssociations", "ssm:ListInstanceAssociations",
						"ssm:PutInventory", "ssm:PutComplianceItems", "ssm:PutConfigurePackageResult", "ssm:UpdateAssociationStatus",
						"ssm:UpdateInstanceAssociationStatus", "ssm:UpdateInstanceInformation"
					],
					"Resource": "*"
				},
				{
					"Effect": "Allow",
					"Action": [
						"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel",
						"ssmmessages:OpenDataChannel"
					],
					"Resource": "*"
				},
				{
					"Effect": "Allow",
					"Action": [
						"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage", "ec2messages:GetEndpoint",
						"ec2messages:GetMessages", "ec2messages:SendReply"
					],
					"Resource": "*"
				}
			]
		}`,
	}
}

// isManagedPolicy reports whether the ARN is that of one of AWS's policies that a role can have here. For most of them it is not known
// what they allow: what nothing else allows such a role is answered as not implemented.
func isManagedPolicy(arn string) bool {
	const known = " AdministratorAccess AmazonEC2ContainerRegistryPowerUser AmazonEC2ContainerRegistryReadOnly AmazonEC2FullAccess " +
		"AmazonEC2ReadOnlyAccess AmazonEC2RolePolicyForLaunchWizard AmazonElasticFileSystemClientReadWriteAccess AmazonS3FullAccess " +
		"AmazonS3ReadOnlyAccess AmazonSQSFullAccess AmazonSSMFullAccess AmazonSSMManagedEC2InstanceDefaultPolicy AmazonSSMManagedInstanceCore " +
		"AmazonSSMPatchAssociation AmazonSSMReadOnlyAccess AWSCodeDeployDeployerAccess AWSCodeDeployFullAccess AWSCodeDeployReadOnlyAccess " +
		"AWSXRayDaemonWriteAccess AWSXrayWriteOnlyAccess AutoScalingFullAccess AutoScalingReadOnlyAccess CloudWatchAgentAdminPolicy " +
		"CloudWatchAgentServerPolicy CloudWatchFullAccess CloudWatchLogsFullAccess CloudWatchLogsReadOnlyAccess CloudWatchReadOnlyAccess " +
		"ElasticLoadBalancingFullAccess ElasticLoadBalancingReadOnly IAMFullAccess IAMReadOnlyAccess PowerUserAccess ReadOnlyAccess " +
		"SecretsManagerReadWrite SecurityAudit job-function/ViewOnlyAccess service-role/AWSCodeDeployRole service-role/AWSCodeDeployRoleForECS " +
		"service-role/AWSCodeDeployRoleForLambda service-role/AWSLambdaBasicExecutionRole service-role/AmazonEC2RoleforAWSCodeDeploy " +
		"service-role/AmazonEC2RoleforAWSCodeDeployLimited service-role/AmazonEC2RoleforSSM service-role/AutoScalingNotificationAccessRole "
	name, aws := strings.CutPrefix(arn, "arn:aws:iam::aws:policy/")
	return aws && name != "" && strings.Contains(known, " "+name+" ")
}
