package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cgroup is the cluster's own root in every hierarchy, so that it can be removed whole.
func (c *Cluster) cgroup() string { return "/et-" + c.Name }

func (c *Cluster) startNode() error {
	if c.NetworkPolicies {
		if err := c.keepRunning("kube-router", c.tool("kube-router"), c.policyFlags()...); err != nil {
			return err
		}
	}
	if err := c.keepRunning("kube-proxy", c.tool("kube-proxy"), "--config="+c.path("kube-proxy.yaml")); err != nil {
		return err
	}
	return c.keepRunning("kubelet", c.tool("kubelet"),
		"--config="+c.path("kubelet.yaml"),
		"--kubeconfig="+c.kubeconfig("kubelet"),
		"--hostname-override="+node,
		"--node-ip="+c.Network.node().String(),
	)
}

// policyFlags leave kube-router its NetworkPolicies alone: routes and Services are others' here.
func (c *Cluster) policyFlags() []string {
	return []string{
		"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
		"--kubeconfig=" + c.kubeconfig("kube-router"), "--hostname-override=" + node,
		"--service-cluster-ip-range=" + c.Network.services(),
		"--health-port=0", "--metrics-port=0",
	}
}

// writeNode writes the configuration of kubelet and kube-proxy. failCgroupV1 and cgroupDriver: since
// 1.35 the kubelet refuses cgroup v1 otherwise, and containerd 1.6 cannot tell it the driver.
// oomScoreAdj 0: without CAP_SYS_RESOURCE nobody may go below it.
func (c *Cluster) writeNode() error {
	if err := writeFile(c.path("kubelet.yaml"), fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %[1]s
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[2]s}}
authorization: {mode: Webhook}
address: %[3]s
registerNode: true
enforceNodeAllocatable: []
evictionHard: {memory.available: "100Mi", nodefs.available: "1%%", nodefs.inodesFree: "1%%", imagefs.available: "1%%"}
# The tests kill containers dozens of times: 5 min of pause after the sixth would be all they see.
featureGates: {KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
# Images are imported, never pulled: the garbage collection must not remove one.
imageGCHighThresholdPercent: 100
clusterDNS: ["%[3]s"]
clusterDomain: cluster.local
resolvConf: %[4]s
tlsCertFile: %[5]s
tlsPrivateKeyFile: %[6]s
staticPodPath: ""
volumePluginDir: /var/lib/kubelet/volume-plugins
`, c.cgroup(), c.certificate("ca"), c.Network.node(), c.path("resolv.conf"), c.certificate("kubelet-server"), c.key("kubelet-server")), 0o644); err != nil {
		return err
	}
	// No upstream: names outside the cluster do not resolve.
	if err := writeFile(c.path("resolv.conf"), "", 0o644); err != nil {
		return err
	}
	if err := writeFile(c.path("audit-policy.yaml"), auditPolicy, 0o644); err != nil {
		return err
	}
	return writeFile(c.path("kube-proxy.yaml"), fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s}
hostnameOverride: %s
oomScoreAdj: 0
# The limit of connections is the host's and may not be set from here.
conntrack: {maxPerCore: 0}
nftables: {masqueradeAll: %t}
`, c.kubeconfig("proxy"), node, !exists("/proc/sys/net/bridge/bridge-nf-call-iptables")), 0o644)
}

// cgroupMounts are the mounted hierarchies: several with version 1, one with version 2 (written for
// it, but untried there).
func cgroupMounts() (folders []string, unified bool) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, false
	}
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		switch fields[2] {
		case "cgroup":
			folders = append(folders, fields[1])
		case "cgroup2":
			// Beside version 1 (hybrid) it has no controllers, but runc makes folders in it too.
			folders = append(folders, fields[1])
			unified = unified || fields[1] == "/sys/fs/cgroup"
		}
	}
	return folders, unified
}

// makeCgroups makes the root that the kubelet demands to exist.
func (c *Cluster) makeCgroups() error {
	folders, unified := cgroupMounts()
	for _, folder := range folders {
		own := filepath.Join(folder, c.cgroup())
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("failed to make the control group: %w", err)
		}
		// A new cpuset is empty, and nothing can run in it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value, err := os.ReadFile(filepath.Join(folder, file)); err == nil && !unified {
				if err := os.WriteFile(filepath.Join(own, file), value, 0o644); err != nil {
					return err
				}
			}
		}
		if unified {
			controllers, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
			if err != nil {
				return err
			}
			for _, controller := range strings.Fields(string(controllers)) {
				for _, at := range []string{folder, own} {
					if err := os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
						return fmt.Errorf("failed to enable the controller %s: %w", controller, err)
					}
				}
			}
		}
	}
	return nil
}

// cgroupsLeft lists this cluster's control groups, deepest first.
func (c *Cluster) cgroupsLeft() []string {
	var found []string
	folders, _ := cgroupMounts()
	for _, folder := range folders {
		_ = filepath.WalkDir(filepath.Join(folder, c.cgroup()), func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				found = append(found, path)
			}
			return nil
		})
	}
	for i, j := 0, len(found)-1; i < j; i, j = i+1, j-1 {
		found[i], found[j] = found[j], found[i]
	}
	return found
}

// removeCgroups retries: a group stays busy for a moment after its last process.
func (c *Cluster) removeCgroups() (int, error) {
	count := len(c.cgroupsLeft())
	err := waitFor("control groups", 10*time.Second, func() error {
		var last error
		for _, path := range c.cgroupsLeft() {
			if err := syscall.Rmdir(path); err != nil && !errors.Is(err, syscall.ENOENT) {
				last = fmt.Errorf("rmdir %s: %w", path, err)
			}
		}
		return last
	})
	return count, err
}
