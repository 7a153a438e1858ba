# The least Coder template that logs what runs in a workspace, for clusters where no webhook may run.
# What is exectrace's is marked; the rest is a workspace like any other.

terraform {
  required_providers {
    coder = {
      source  = "coder/coder"
      version = ">= 2.0"
    }
    kubernetes = {
      source = "hashicorp/kubernetes"
      # 3.0 is the first with restart_policy in init_container.
      version = ">= 3.0"
    }
  }
}

variable "namespace" {
  type        = string
  description = "The namespace of the workspaces. Its Pod Security level must be privileged: see README.md."
}

variable "exectrace_image" {
  type        = string
  description = "The image of exectrace, by a fixed tag or a digest."
  default     = "example.com/exectrace:0.1.0"
}

data "coder_workspace" "me" {}
data "coder_workspace_owner" "me" {}

resource "coder_agent" "main" {
  os   = "linux"
  arch = "amd64"
}

resource "kubernetes_deployment_v1" "main" {
  count            = data.coder_workspace.me.start_count
  wait_for_rollout = false

  metadata {
    name      = "coder-${data.coder_workspace.me.id}"
    namespace = var.namespace
  }

  spec {
    replicas = 1

    selector {
      match_labels = {
        "com.coder.workspace.id" = data.coder_workspace.me.id
      }
    }

    strategy {
      type = "Recreate"
    }

    template {
      metadata {
        # exectrace: every line of the log has these, and exectrace logs finds the pod by them.
        labels = {
          "com.coder.workspace.id"   = data.coder_workspace.me.id
          "com.coder.workspace.name" = data.coder_workspace.me.name
          "com.coder.user.id"        = data.coder_workspace_owner.me.id
          "com.coder.user.username"  = data.coder_workspace_owner.me.name
        }
      }

      spec {
        # exectrace: a native sidecar. It comes first, and the workspace starts once it watches.
        init_container {
          name           = "exectrace"
          image          = var.exectrace_image
          restart_policy = "Always"
          command        = ["/exectrace"]
          args = [
            "sidecar",
            "--pod-uid=$(EXECTRACE_POD_UID)",
            "--node=$(EXECTRACE_NODE_NAME)",
            "--pod-info=/etc/exectrace/pod",
            "--ready-socket=/run/exectrace/ready.sock",
          ]
          image_pull_policy          = "IfNotPresent"
          termination_message_policy = "FallbackToLogsOnError"

          env {
            name = "EXECTRACE_POD_UID"
            value_from {
              field_ref {
                field_path = "metadata.uid"
              }
            }
          }

          env {
            name = "EXECTRACE_NODE_NAME"
            value_from {
              field_ref {
                field_path = "spec.nodeName"
              }
            }
          }

          resources {
            requests = {
              cpu    = "10m"
              memory = "64Mi"
            }
            limits = {
              cpu    = "500m"
              memory = "128Mi"
            }
          }

          # Not privileged. Added capabilities reach root only, so it is root, with these two and nothing else.
          security_context {
            run_as_user                = "0"
            run_as_group               = "0"
            run_as_non_root            = false
            privileged                 = false
            allow_privilege_escalation = false
            read_only_root_filesystem  = true
            capabilities {
              drop = ["ALL"]
              add  = ["BPF", "PERFMON"]
            }
            seccomp_profile {
              type = "RuntimeDefault"
            }
          }

          # Up to two minutes to attach. A node that cannot trace keeps the workspace from starting.
          startup_probe {
            exec {
              command = ["/exectrace", "probe", "/run/exectrace/ready.sock"]
            }
            period_seconds    = 1
            timeout_seconds   = 1
            success_threshold = 1
            failure_threshold = 120
          }

          volume_mount {
            name       = "exectrace-run"
            mount_path = "/run/exectrace"
          }

          volume_mount {
            name       = "exectrace-pod-info"
            mount_path = "/etc/exectrace/pod"
            read_only  = true
          }

          # An empty folder in the place where the API server would put the token of the workspace's service account.
          volume_mount {
            name       = "exectrace-run"
            mount_path = "/var/run/secrets/kubernetes.io/serviceaccount"
            sub_path   = "no-token"
            read_only  = true
          }
        }

        container {
          name    = "workspace"
          image   = "example.com/workspace:1"
          command = ["sh", "-c", coder_agent.main.init_script]

          env {
            name  = "CODER_AGENT_TOKEN"
            value = coder_agent.main.token
          }

          security_context {
            run_as_user                = "1000"
            allow_privilege_escalation = false
          }
        }

        # exectrace: where the probe asks, and what the pod is called. The sidecar alone mounts them.
        volume {
          name = "exectrace-run"
          empty_dir {
            medium     = "Memory"
            size_limit = "1Mi"
          }
        }

        volume {
          name = "exectrace-pod-info"
          downward_api {
            default_mode = "0644"
            items {
              path = "labels"
              field_ref {
                field_path = "metadata.labels"
              }
            }
            items {
              path = "annotations"
              field_ref {
                field_path = "metadata.annotations"
              }
            }
            items {
              path = "name"
              field_ref {
                field_path = "metadata.name"
              }
            }
            items {
              path = "namespace"
              field_ref {
                field_path = "metadata.namespace"
              }
            }
          }
        }
      }
    }
  }
}
