# The user data of one machine, for any cloud: no provider is needed.
#
#   module "user_data" {
#     source           = ".../packaging/cloud/user-data"
#     download_url     = "https://example.org/blog-1.0.tar.gz"
#     package_base_dir = "blog-1.0"
#     app_dir          = "personal-blog"
#     envs             = { STAGE = "live" }
#     wsgi_app         = "wsgiapp:wsgi_app"
#   }

terraform {
  required_version = ">= 1.3"
}

locals {
  packaging = "${path.module}/../.."
  settings = {
    DEPLOY_DOWNLOAD_URL     = var.download_url
    DEPLOY_SHA256           = var.sha256
    DEPLOY_PACKAGE_BASE_DIR = var.package_base_dir
    DEPLOY_APP_DIR          = var.app_dir
    DEPLOY_WSGI_APP         = var.wsgi_app
    DEPLOY_PROBE            = var.health_path
    DEPLOY_NAME             = var.name
    DEPLOY_SERVICE          = var.service
    # rcorn-deploy splits it like a shell, so each pair is quoted.
    DEPLOY_ENVS   = join(" ", [for name, value in var.envs : "'${replace("${name}=${value}", "'", "'\\''")}'"])
    RCORN_PACKAGE = var.rcorn_package
  }
  # A shell reads this file.
  site_env = join("", [for name, value in local.settings : "${name}='${replace(value, "'", "'\\''")}'\n" if value != ""])
  files = {
    "/etc/rcorn-site.env"                     = { mode = "0600", text = local.site_env }
    "/opt/rcorn/bin/setup.sh"                 = { mode = "0755", text = file("${local.packaging}/cloud/setup.sh") }
    "/opt/rcorn/bin/rcorn-deploy"             = { mode = "0755", text = file("${local.packaging}/deploy/rcorn-deploy") }
    "/opt/rcorn/share/nginx/http-unix.conf"   = { mode = "0644", text = local.bare["nginx/http-unix.conf"] }
    "/opt/rcorn/share/supervisor/rcorn.conf"  = { mode = "0644", text = local.bare["supervisor/rcorn.conf"] }
    "/opt/rcorn/share/systemd/rcorn@.service" = { mode = "0644", text = local.bare["systemd/rcorn@.service"] }
  }
  # Without their comments: 16 KiB have no room for them.
  shared = ["nginx/http-unix.conf", "supervisor/rcorn.conf", "systemd/rcorn@.service"]
  bare   = { for name in local.shared : name => replace(file("${local.packaging}/${name}"), "/(?m)^ *[#;].*\n/", "") }
}

locals {
  # JSON is YAML.
  cloud_config = jsonencode({
    write_files = [for path, file in local.files : { path = path, permissions = file.mode, content = file.text }]
    runcmd      = [["sh", "/opt/rcorn/bin/setup.sh"]]
  })
}

output "user_data" {
  description = "The user data for the first boot, as text."
  value       = "#cloud-config\n${local.cloud_config}\n"
  sensitive   = true
}

output "compressed" {
  description = "The same, compressed and base64-encoded, for clouds that allow 16 KiB; cloud-init decodes it."
  value       = base64gzip("#cloud-config\n${local.cloud_config}\n")
  sensitive   = true
}
