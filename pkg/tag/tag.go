// Package tag is the vocabulary of the tags that Ingot gives to what it makes on AWS. What a thing is and whose it is
// stands in its tags, so that nothing else has to remember it. terraform/ uses the same names; a test compares them.
package tag

// The keys.
const (
	App = "ingot:app" // the application's name: on everything

	Image       = "ingot:image"       // of an image: the stage that made it, a provision.Stage
	Fingerprint = "ingot:fingerprint" // of an image: over everything that went into it; set last, so that only a finished image has it
	Release     = "ingot:release"     // of an application image: the release that it is
	Parent      = "ingot:parent"      // of an image: the ID of the image that it was made from
	Commit      = "ingot:commit"      // of an image: the commit of the repository
	Agent       = "ingot:agent"       // of an image: CodeDeployAgent or NoAgent; images from before this tag have none

	Run    = "ingot:run"    // of an image and of all that its bake needs: the run that makes it
	Baking = "ingot:baking" // of the same, and from the start: the fingerprint of what the run makes

	State = "ingot:state" // of a bucket that Ingot made for Terraform's state; its value is "terraform"
)

// The values of Agent: whether an instance of the image can be told by CodeDeploy to run a deployment.
const (
	CodeDeployAgent = "codedeploy"
	NoAgent         = "none"
)
