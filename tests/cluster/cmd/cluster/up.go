package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// readyLimit is generous: a cold disk and two busy cores took 40 s where a warm machine takes 8.
const readyLimit = 3 * time.Minute

func (c *Cluster) up(policies bool) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: sudo -E go run ./cmd/cluster up --name " + c.Name)
	}
	if err := installPrograms(policies); err != nil {
		return err
	}
	tools, err := buildAll(policies)
	if err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.read(); err != nil {
		return err
	}

	start := time.Now()
	if c.supervisorPID() != 0 {
		problem := c.healthy()
		if problem == nil && policies && !c.NetworkPolicies {
			problem = errors.New("it enforces no NetworkPolicies")
		}
		if problem == nil {
			fmt.Printf("cluster: %s runs already; KUBECONFIG=%s\n", c.Name, c.path("kubeconfig"))
			if c.Tools != tools {
				fmt.Printf("cluster: it runs older binaries than this checkout would build; to renew them: cluster down --name %s\n", c.Name)
			}
			return c.printReady(start)
		}
		fmt.Printf("cluster: %s runs but is not healthy (%v); starting it anew\n", c.Name, problem)
	}
	if _, err := c.clean(); err != nil {
		return fmt.Errorf("failed to clean up what an earlier %s left: %w", c.Name, err)
	}
	if present, _ := c.interfaceOwner(); present {
		return fmt.Errorf("the interface %s exists and is not this cluster's: choose another name", c.hostInterface())
	}
	if err := c.begin(tools, policies); err != nil {
		return err
	}
	if err := c.waitReady(start, readyLimit); err != nil {
		return fmt.Errorf("%s did not become ready: %w\n%s", c.Name, err, c.logTail("supervisor", 15))
	}
	fmt.Printf("cluster: KUBECONFIG=%s\n", c.path("kubeconfig"))
	return c.printReady(start)
}

// begin writes the cluster's files and starts its processes.
func (c *Cluster) begin(tools string, policies bool) error {
	// Until the interface is there, another up could choose the same range.
	unlock, err := c.lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	network, err := freeNetwork()
	if err != nil {
		return err
	}
	*c = Cluster{Name: c.Name, Folder: c.Folder, Network: network, Tools: tools, NetworkPolicies: policies}
	if err := c.raiseSysctls(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return err
	}
	for _, step := range []func() error{
		c.write, c.writeCertificates, c.writeContainerd, c.writeCNI, c.writeDNS, c.writeNode, c.writeSandboxImage, c.makeCgroups,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	pid, err := c.startSupervisor()
	if err != nil {
		return err
	}
	fmt.Printf("cluster: %s starts as process %d with the addresses %s\n", c.Name, pid, c.Network.Block)
	return c.connect(pid)
}

func (c *Cluster) printReady(start time.Time) error {
	api, err := c.api("admin")
	if err != nil {
		return err
	}
	var version struct{ GitVersion string }
	if err := api.get("/version", &version); err != nil {
		return err
	}
	fmt.Printf("cluster: ready in %.1f s, Kubernetes %s\n", time.Since(start).Seconds(), version.GitVersion)
	return nil
}

// printEnvironment prints lines for the shell: eval "$(go run ./cmd/cluster env --name test)".
func (c *Cluster) printEnvironment() error {
	if err := c.running(); err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG='%s'\n", c.path("kubeconfig"))
	// kubectl keeps what kinds a server has by address, and the next cluster may have this one's.
	fmt.Printf("export KUBECACHEDIR='%s'\n", c.path("kubectl-cache"))
	fmt.Printf("export PATH='%s':\"$PATH\"\n", c.Tools)
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); strings.HasSuffix(strings.ToLower(name), "s_proxy") && value != "" {
			fmt.Printf("export NO_PROXY=\"${NO_PROXY:+$NO_PROXY,}%s\"\n", c.Network.Block)
			break
		}
	}
	return nil
}

func (c *Cluster) logs(arguments []string) error {
	if len(arguments) > 0 {
		fmt.Println(c.logTail(arguments[0], 50))
		return nil
	}
	files, err := filepath.Glob(c.path("logs", "*.log"))
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(files, "\n"))
	fmt.Printf("pods: kubectl logs, or %s\n", c.path("node", "log", "pods"))
	return nil
}

func (c *Cluster) logTail(component string, lines int) string {
	file := c.path("logs", component+".log")
	output, err := exec.Command("tail", "-n", fmt.Sprint(lines), file).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("no %s", file)
	}
	return fmt.Sprintf("end of %s:\n%s", file, output)
}
