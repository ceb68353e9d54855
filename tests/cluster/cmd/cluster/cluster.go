package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// namePattern keeps interface names within Linux's 15 characters: "et-" + name.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]{0,8}$`)

// A Cluster is one node with a name, a folder and namespaces (pid, mount, network) of its own.
//
// The namespaces are why two clusters do not meet: each has its own kube-proxy table, ports, CNI
// files and mounts, and when its first process ends the kernel ends and unmounts all the others.
type Cluster struct {
	Name   string
	Folder string
	// Network is chosen by up and kept in the folder for the other commands.
	Network Network
	// NetworkPolicies says whether kube-router enforces them.
	NetworkPolicies bool
	// Tools is where the built binaries are.
	Tools string
}

func cacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for the binaries and the clusters: %w", err)
	}
	return filepath.Join(base, "error-tracking-operator"), nil
}

// clusterNamed reads what up wrote, if there is anything.
func clusterNamed(name string) (*Cluster, error) {
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("%q cannot name a cluster: a letter, then up to 8 lower-case letters or digits", name)
	}
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	cluster := &Cluster{Name: name, Folder: filepath.Join(cache, "clusters", name)}
	for _, hidden := range hiddenFolders {
		if strings.HasPrefix(cluster.Folder, hidden+"/") {
			return nil, fmt.Errorf("the cache folder %s is below %s, which the node hides behind its own; set XDG_CACHE_HOME elsewhere", cache, hidden)
		}
	}
	// A unix socket's path has at most 107 bytes (unix(7)).
	if length := len(cluster.containerdSocket()); length > 100 {
		return nil, fmt.Errorf("the path %s is too long for a socket; set XDG_CACHE_HOME to a shorter one", cluster.containerdSocket())
	}
	return cluster, cluster.read()
}

func clusterAt(folder string) (*Cluster, error) {
	cluster := &Cluster{Name: filepath.Base(folder), Folder: folder}
	if err := cluster.read(); err != nil {
		return nil, err
	}
	return cluster, cluster.known()
}

func (c *Cluster) read() error {
	text, err := os.ReadFile(c.path("cluster.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	written := *c
	if err := json.Unmarshal(text, &written); err != nil {
		// Half written by a killed up: treated as nothing there.
		fmt.Fprintf(os.Stderr, "cluster: %s is not readable (%v)\n", c.path("cluster.json"), err)
		return nil
	}
	// The folder may have been moved since: its own place counts.
	c.Network, c.Tools, c.NetworkPolicies = written.Network, written.Tools, written.NetworkPolicies
	return nil
}

// known is an error where up wrote nothing, or somebody removed the folder.
func (c *Cluster) known() error {
	if !c.Network.Block.IsValid() || c.Tools == "" {
		return fmt.Errorf("%s says nothing of a cluster: cluster up --name %s", c.path("cluster.json"), c.Name)
	}
	return nil
}

// running is an error where there is no cluster to ask.
func (c *Cluster) running() error {
	if c.supervisorPID() == 0 {
		return fmt.Errorf("%s is not running: cluster up --name %s", c.Name, c.Name)
	}
	return c.known()
}

func (c *Cluster) write() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(c.path("cluster.json"), string(text), 0o600)
}

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.Folder}, elements...)...)
}

func (c *Cluster) tool(name string) string { return filepath.Join(c.Tools, name) }

// Node is the name of the only node.
const node = "node0"

// lock serialises up, down and load of one cluster; the kernel drops it with the process.
func (c *Cluster) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(c.Folder), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(c.Folder+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		fmt.Printf("cluster: waiting for another command on %s\n", c.Name)
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
			return nil, err
		}
	}
	return func() { _ = file.Close() }, nil
}

func writeFile(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}
