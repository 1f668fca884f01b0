# For "packer init packer/plugins": from 1.7 on, plugins are installed apart from Packer. Builds do not read this folder, because
# 1.6.6 has the plugin built in and does not know the block.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.2, < 2.0.0"
    }
  }
}
