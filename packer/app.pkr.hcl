# The application AMI: the base AMI with one release of the service, seen running before it is sealed.

build {
  name    = "app"
  sources = ["source.amazon-ebs.debian"]

  provisioner "file" {
    source      = var.archive
    destination = "${local.work}.tar.gz"
  }

  provisioner "shell" {
    execute_command  = local.as_root
    environment_vars = concat(local.environment, ["SOURCE=${local.work}/service"])
    inline           = [local.unpack, "${local.stage} app", "ingot-check"]
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
