variable "download_url" {
  description = "The package: a tar.gz that holds requirements.txt and the app's directory."
  type        = string
}

variable "sha256" {
  description = "What the package's SHA-256 must be; empty to take what comes."
  type        = string
  default     = ""
}

variable "package_base_dir" {
  description = "The directory in the package that everything is in; empty if there is only one."
  type        = string
  default     = ""
}

variable "app_dir" {
  description = "The directory below package_base_dir that the app is loaded from; empty for that one itself."
  type        = string
  default     = ""
}

variable "envs" {
  description = "Variables of the environment for the app."
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
  description = "A path that answers with less than 400 when all is well: for the balancer, and before a release serves."
  type        = string
  default     = "/"
}

variable "name" {
  description = "What the service is called."
  type        = string
  default     = "app"
}

variable "service" {
  description = "Who keeps rcorn alive: supervisor or systemd."
  type        = string
  default     = "supervisor"

  validation {
    condition     = contains(["supervisor", "systemd"], var.service)
    error_message = "service is supervisor or systemd."
  }
}

variable "rcorn_package" {
  description = "What pip installs as rcorn: a name with a version, or the address of a wheel."
  type        = string
  default     = "rcorn"
}

variable "image_id" {
  description = "A Debian 12 or Ubuntu image of the region."
  type        = string
}

variable "instance_type" {
  description = "The kind of machine."
  type        = string
  default     = "t3.small"
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets in at least two zones, for the balancer and the machines. The machines must reach download_url and the package registries from there."
  type        = list(string)
}

variable "machines" {
  description = "How many machines serve."
  type        = number
  default     = 2
}

variable "certificate_arn" {
  description = "The certificate for HTTPS; empty to serve plain HTTP."
  type        = string
  default     = ""
}
