package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// apiServerPort is where every component reaches the API server.
const apiServerPort = 6443

// cutTable is the nft table in the cluster's network namespace that holds what is cut.
const cutTable = "inet et-cut"

// cut drops what the API server sends over the connections that a component has. It notices after some 20 s and
// connects anew, which is not held back: what it does until then is done with what it knows.
func (c *Cluster) cut(name string) error {
	pid, there := childrenOf(c.supervisorPID())[name]
	if !there {
		return fmt.Errorf("%s does not run in %s", name, c.Name)
	}
	ports, err := portsTo(pid, apiServerPort)
	if err != nil {
		return err
	}
	if len(ports) == 0 {
		return fmt.Errorf("%s has no connection to the API server", name)
	}
	return c.nft(fmt.Sprintf(`add table %[1]s
add chain %[1]s input { type filter hook input priority 0; }
add rule %[1]s input tcp sport %[2]d tcp dport { %[3]s } drop
`, cutTable, apiServerPort, strings.Join(ports, ", ")))
}

// mend undoes every cut.
func (c *Cluster) mend() error {
	return c.nft(fmt.Sprintf("add table %[1]s\ndelete table %[1]s\n", cutTable))
}

// nft runs a script in the cluster's network namespace.
func (c *Cluster) nft(script string) error {
	supervisor := c.supervisorPID()
	if supervisor == 0 {
		return c.running()
	}
	command := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", supervisor), "nft", "--file", "-")
	command.Stdin = strings.NewReader(script)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

// portsTo lists the local ports of a process's TCP connections to a port.
func portsTo(pid, remote int) ([]string, error) {
	sockets := map[string]bool{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		// socket:[12345]
		if link, err := os.Readlink(file); err == nil {
			if inode, is := strings.CutPrefix(link, "socket:["); is {
				sockets[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var ports []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(text), "\n") {
			// sl local_address rem_address st … inode, addresses as HEX:PORT (proc_pid_net(5)).
			fields := strings.Fields(line)
			if len(fields) < 10 || !sockets[fields[9]] {
				continue
			}
			if local, peer := portOf(fields[1]), portOf(fields[2]); peer == remote {
				ports = append(ports, fmt.Sprint(local))
			}
		}
	}
	return ports, nil
}

func portOf(address string) int {
	_, port, _ := strings.Cut(address, ":")
	bytes, err := hex.DecodeString(port)
	if err != nil || len(bytes) != 2 {
		return 0
	}
	return int(bytes[0])<<8 | int(bytes[1])
}
