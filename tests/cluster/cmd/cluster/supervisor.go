package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// hiddenFolders of the host are covered, inside the cluster's mount namespace, by folders of the
// cluster: containerd, the kubelet and CNI then use their usual paths, and nothing reaches the host.
var hiddenFolders = []string{"/run", "/var/run", "/var/lib", "/var/log"}

var nodeFolders = map[string]string{"/run": "run", "/var/lib": "lib", "/var/log": "log"}

// startSupervisor starts process 1 of the cluster in new pid, mount and network namespaces, from a
// copy of this program (`go run` deletes its own).
func (c *Cluster) startSupervisor() (int, error) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 0, err
	}
	program := c.path("bin", "cluster")
	if err := writeFile(program, string(self), 0o755); err != nil {
		return 0, err
	}
	for _, folder := range nodeFolders {
		if err := os.MkdirAll(c.path("node", folder), 0o755); err != nil {
			return 0, err
		}
	}
	if err := os.MkdirAll(c.path("logs"), 0o755); err != nil {
		return 0, err
	}
	log, err := os.Create(c.path("logs", "supervisor.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	command := exec.Command(program, "supervise", "--folder", c.Folder)
	command.Env = environmentWithoutProxies()
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("failed to start the cluster's namespaces: %w", err)
	}
	// Collected by whoever runs when it ends; this program usually ends before it.
	go func() { _ = command.Wait() }()
	return command.Process.Pid, nil
}

// supervise is process 1 of the cluster. It ends only by SIGKILL, and everything with it.
func supervise(folder string) error {
	cluster, err := clusterAt(folder)
	if err != nil {
		return err
	}
	if os.Getpid() != 1 {
		return fmt.Errorf("supervise is started by up, as process 1 of its own namespace")
	}
	go reap()
	start := time.Now()
	if err := cluster.startComponents(func(what string) {
		fmt.Fprintf(os.Stderr, "%.2f s %s\n", time.Since(start).Seconds(), what)
	}); err != nil {
		return err
	}
	select {}
}

// startComponents follows the order that reference/local-cluster.md found: CoreDNS listens before
// the first pod starts (else a pod's first look-up hung up to 100 s).
func (c *Cluster) startComponents(done func(string)) error {
	if err := c.mountNode(); err != nil {
		return err
	}
	if err := c.networkInside(); err != nil {
		return err
	}
	done("network")
	if err := c.startContainerd(); err != nil {
		return err
	}
	if err := c.startControlPlane(done); err != nil {
		return err
	}
	if err := c.startDNS(); err != nil {
		return err
	}
	if err := c.keepRunning("provision", c.path("bin", "cluster"), "provision", "--folder", c.Folder); err != nil {
		return err
	}
	done("DNS and volumes")
	if err := c.importSandboxImage(); err != nil {
		return err
	}
	if err := c.startNode(); err != nil {
		return err
	}
	done("node")
	return nil
}

func (c *Cluster) mountNode() error {
	// First private, so that nothing below reaches the host, then shared among the cluster's own
	// processes, as the kubelet wants the root.
	for _, kind := range []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED} {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|kind, ""); err != nil {
			return fmt.Errorf("failed to separate the mounts from the host's: %w", err)
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("failed to mount /proc: %w", err)
	}
	for target, folder := range nodeFolders {
		if err := syscall.Mount(filepath.Join(c.Folder, "node", folder), target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("failed to put the node's own folder on %s: %w", target, err)
		}
	}
	return nil
}
