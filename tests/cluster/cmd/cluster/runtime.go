package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// sandboxImage is packed by this program: no registry.
const sandboxImage = "localhost/pause:cluster"

// containerdSocket is the node's /run/containerd/containerd.sock as the host sees it.
func (c *Cluster) containerdSocket() string {
	return c.path("node", "run", "containerd", "containerd.sock")
}

func (c *Cluster) writeContainerd() error {
	return writeFile(c.path("containerd.toml"), fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# oom_score 0: without CAP_SYS_RESOURCE nobody may go below it.
oom_score = 0

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  # Without CAP_SYS_RESOURCE runc may not lower oom_score_adj, and every sandbox fails with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%s"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, sandboxImage, c.path("cni")), 0o644)
}

func (c *Cluster) startContainerd() error {
	return c.keepRunning("containerd", "containerd", "--config="+c.path("containerd.toml"))
}

func (c *Cluster) importSandboxImage() error {
	if err := waitFor("containerd", 20*time.Second, func() error {
		connection, err := net.Dial("unix", "/run/containerd/containerd.sock")
		if err == nil {
			_ = connection.Close()
		}
		return err
	}); err != nil {
		return err
	}
	return runInside("ctr", "--address=/run/containerd/containerd.sock", "--namespace=k8s.io", "images", "import", c.path("pause.tar"))
}

// ctr asks the node's containerd, from the host.
func (c *Cluster) ctr(arguments ...string) ([]string, error) {
	if err := c.running(); err != nil {
		return nil, err
	}
	command := exec.Command("ctr", append([]string{"--address=" + c.containerdSocket(), "--namespace=k8s.io"}, arguments...)...)
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ctr %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.Fields(string(output)), nil
}

func (c *Cluster) load(archives []string) error {
	if len(archives) == 0 {
		return errors.New("usage: cluster load --name NAME FILE.tar…")
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, archive := range archives {
		if _, err := os.Stat(archive); err != nil {
			return err
		}
		start := time.Now()
		if _, err := c.ctr("images", "import", archive); err != nil {
			return err
		}
		fmt.Printf("cluster: loaded %s into %s in %.1f s\n", archive, c.Name, time.Since(start).Seconds())
	}
	return nil
}

// signal reaches the container's first process through the runtime, as a crash would: neither the
// API server nor the kubelet is asked.
func (c *Cluster) signal(namespace, pod, container, signal string) error {
	filter := fmt.Sprintf(`labels."io.kubernetes.pod.namespace"==%q,labels."io.kubernetes.container.name"==%q,labels."io.kubernetes.pod.name"~=%q`, namespace, container, "^"+pod)
	containers, err := c.ctr("containers", "list", "--quiet", filter)
	if err != nil {
		return err
	}
	running, err := c.ctr("tasks", "list")
	if err != nil {
		return err
	}
	states := map[string]string{}
	// Columns: TASK PID STATUS, after one line of headings.
	for i := 3; i+2 < len(running); i += 3 {
		states[running[i]] = running[i+2]
	}
	hit := 0
	for _, id := range containers {
		if states[id] != "RUNNING" {
			continue
		}
		if _, err := c.ctr("tasks", "kill", "--signal", signal, id); err != nil {
			return err
		}
		fmt.Printf("cluster: %s sent to container %s of a pod %s… (%.12s)\n", signal, container, pod, id)
		hit++
	}
	if hit == 0 {
		return fmt.Errorf("no running container %s in a pod %s… of namespace %s", container, pod, namespace)
	}
	return nil
}
