package main

import (
	"fmt"
	"sort"
)

// components with the port where each listens, in the cluster's own network namespace.
var components = map[string]string{
	"containerd":              "/run/containerd/containerd.sock",
	"coredns":                 "NODE:53",
	"etcd":                    etcdAddress,
	"kube-apiserver":          "NODE:6443",
	"kube-controller-manager": "127.0.0.1:10257",
	"kube-proxy":              "127.0.0.1:10249",
	"kube-scheduler":          "127.0.0.1:10259",
	"kubelet":                 "NODE:10250",
	"provision":               "-",
}

func (c *Cluster) status() error {
	pid := c.supervisorPID()
	if pid == 0 {
		fmt.Printf("cluster: %s is not running\n", c.Name)
		return nil
	}
	if err := c.known(); err != nil {
		return fmt.Errorf("process %d runs, but %w", pid, err)
	}
	fmt.Printf("cluster: %s, process %d, NODE is %s, addresses %s\n", c.Name, pid, c.Network.node(), c.Network.Block)
	fmt.Printf("         a shell inside: nsenter --target %d --mount --net --pid\n", pid)
	running := childrenOf(pid)
	names := make([]string, 0, len(components))
	for name := range components {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		state := "not running"
		if pid, there := running[name]; there {
			state = fmt.Sprintf("process %d", pid)
		}
		fmt.Printf("  %-24s %-16s %s\n", name, state, components[name])
	}
	if err := c.healthy(); err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	api, err := c.api("admin")
	if err != nil {
		return err
	}
	var object nodeObject
	if err := api.get("/api/v1/nodes/"+node, &object); err != nil {
		return err
	}
	fmt.Printf("node:    %s is ready, kubelet %s, %s\n", node, object.Status.NodeInfo.KubeletVersion, object.Status.NodeInfo.ContainerRuntimeVersion)
	var pods podList
	if err := api.get("/api/v1/pods", &pods); err != nil {
		return err
	}
	phases := map[string]int{}
	for _, pod := range pods.Items {
		phases[pod.Status.Phase]++
	}
	fmt.Printf("pods:    %d in all, %d running, %d pending, %d failed\n", len(pods.Items), phases["Running"], phases["Pending"], phases["Failed"])
	for _, pod := range pods.Items {
		ready, restarts := 0, 0
		for _, container := range pod.Status.ContainerStatuses {
			restarts += container.RestartCount
			if container.Ready {
				ready++
			}
		}
		fmt.Printf("  %s/%s %s, %d/%d ready, %d restarts\n", pod.Metadata.Namespace, pod.Metadata.Name, pod.Status.Phase, ready, len(pod.Status.ContainerStatuses), restarts)
	}
	return nil
}
