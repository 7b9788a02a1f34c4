# Machines that serve an app from a tar.gz, behind a load balancer with health checks.
# A new download_url creates a new launch template: the machines are then replaced one by one, each only by a machine that
# answers health_path. To replace the app on running machines, call `rcorn-deploy deploy` on them.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

locals {
  tls = var.certificate_arn != ""
}

module "user_data" {
  source           = "../user-data"
  download_url     = var.download_url
  sha256           = var.sha256
  package_base_dir = var.package_base_dir
  app_dir          = var.app_dir
  envs             = var.envs
  wsgi_app         = var.wsgi_app
  health_path      = var.health_path
  name             = var.name
  service          = var.service
  rcorn_package    = var.rcorn_package
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  vpc_id      = var.vpc_id

  ingress {
    from_port   = local.tls ? 443 : 80
    to_port     = local.tls ? 443 : 80
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
  lifecycle {
    create_before_destroy = true
  }
}

# Only the balancer can reach the machines, so its forwarded fields can be trusted.
resource "aws_security_group" "machine" {
  name_prefix = "${var.name}-machine-"
  vpc_id      = var.vpc_id

  ingress {
    from_port       = 80
    to_port         = 80
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer.id]
  }
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_launch_template" "machine" {
  name_prefix            = "${var.name}-"
  image_id               = var.image_id
  instance_type          = var.instance_type
  user_data              = module.user_data.compressed
  vpc_security_group_ids = [aws_security_group.machine.id]
  update_default_version = true

  metadata_options {
    http_tokens = "required"
  }
}

resource "aws_autoscaling_group" "machines" {
  name_prefix         = "${var.name}-"
  vpc_zone_identifier = var.subnet_ids
  target_group_arns   = [aws_lb_target_group.machines.arn]
  health_check_type   = "ELB"
  # Time to install packages and build the virtual environment.
  health_check_grace_period = 300
  min_size                  = var.machines
  desired_capacity          = var.machines
  max_size                  = var.machines + 1

  launch_template {
    id      = aws_launch_template.machine.id
    version = aws_launch_template.machine.latest_version
  }
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 100
      auto_rollback          = true
    }
  }
}

resource "aws_lb" "balancer" {
  name_prefix        = "rcorn-"
  load_balancer_type = "application"
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.balancer.id]
  # Shorter than nginx's keepalive_timeout (75 s): the side that sends requests must be the one that closes. Otherwise some
  # requests meet a closing connection, which clients see as 502.
  idle_timeout = 60
}

resource "aws_lb_target_group" "machines" {
  name_prefix = "rcorn-"
  port        = 80
  protocol    = "HTTP"
  vpc_id      = var.vpc_id
  # rcorn's graceful_timeout: a machine that is removed finishes its requests.
  deregistration_delay = 30

  health_check {
    path                = var.health_path
    matcher             = "200-399"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "front" {
  load_balancer_arn = aws_lb.balancer.arn
  port              = local.tls ? 443 : 80
  protocol          = local.tls ? "HTTPS" : "HTTP"
  certificate_arn   = local.tls ? var.certificate_arn : null

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.machines.arn
  }
}

output "address" {
  description = "The URL of the app."
  value       = aws_lb.balancer.dns_name
}
