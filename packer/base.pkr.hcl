# The base AMI: what every release needs and what changes rarely.

build {
  name    = "base"
  sources = ["source.amazon-ebs.debian"]

  provisioner "file" {
    source      = var.archive
    destination = "${local.work}.tar.gz"
  }

  provisioner "shell" {
    execute_command  = local.as_root
    environment_vars = local.environment
    inline           = [local.unpack, "${local.stage} base"]
  }

  # Last: it removes the key that lets Packer in, and Packer's own script.
  provisioner "shell" {
    execute_command = local.as_root
    inline          = ["${local.stage} seal"]
    skip_clean      = true
  }

  post-processor "manifest" {
    output      = var.manifest
    custom_data = var.manifest_data
  }
}
