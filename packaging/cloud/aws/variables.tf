variable "download_url" {
  description = "The package: a tar.gz that holds requirements.txt and the app's directory."
  type        = string
}

variable "sha256" {
  description = "The expected SHA-256 of the package; empty to skip the check."
  type        = string
  default     = ""
}

variable "package_base_dir" {
  description = "The directory inside the package that holds requirements.txt and the app; empty for its only top-level directory."
  type        = string
  default     = ""
}

variable "app_dir" {
  description = "The directory below package_base_dir that the app is imported from; empty for package_base_dir itself."
  type        = string
  default     = ""
}

variable "envs" {
  description = "Environment variables of the app."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.envs) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "Names in envs are letters, digits and underscores."
  }
}

variable "wsgi_app" {
  description = "The app, as MODULE:CALLABLE."
  type        = string
  default     = "wsgiapp:wsgi_app"
}

variable "health_path" {
  description = "A path that a healthy app answers with a status below 400: probed by the balancer, and before a release serves."
  type        = string
  default     = "/"
}

variable "name" {
  description = "The name of the service."
  type        = string
  default     = "app"
}

variable "service" {
  description = "What supervises rcorn: supervisor or systemd."
  type        = string
  default     = "supervisor"

  validation {
    condition     = contains(["supervisor", "systemd"], var.service)
    error_message = "service is supervisor or systemd."
  }
}

variable "rcorn_package" {
  description = "The pip requirement for rcorn: a name with a version, or the URL of a wheel."
  type        = string
  default     = "rcorn"
}

variable "image_id" {
  description = "A Debian 12 or Ubuntu image in the region."
  type        = string
}

variable "instance_type" {
  description = "The instance type."
  type        = string
  default     = "t3.small"
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets in at least two zones, for the balancer and the machines. The machines must reach download_url and the package registries from there."
  type        = list(string)
}

variable "machines" {
  description = "The number of machines."
  type        = number
  default     = 2
}

variable "certificate_arn" {
  description = "The certificate for HTTPS; empty to serve plain HTTP."
  type        = string
  default     = ""
}
