package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// down ends the cluster and then looks whether anything of it is left. Safe to repeat.
func (c *Cluster) down() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	removed, err := c.clean()
	if err != nil {
		return err
	}
	restored, err := c.restoreSysctls()
	if err != nil {
		return err
	}
	for _, what := range append(removed, prefixed("restored ", restored)...) {
		fmt.Println("cluster:", what)
	}
	if left := c.left(); len(left) > 0 {
		return fmt.Errorf("%s is down, but this is left:\n  %s", c.Name, strings.Join(left, "\n  "))
	}
	fmt.Printf("cluster: %s is down, nothing left\n", c.Name)
	return nil
}

// clean is the same for a healthy, a half-dead and a crashed cluster. The reference's order (kubelet,
// tasks, containerd, umount -l, control plane) is for processes in the host's namespaces; here one
// kill ends them all, and their mounts, pod networks and rules go with the namespaces.
func (c *Cluster) clean() (removed []string, err error) {
	if pid := c.supervisorPID(); pid != 0 {
		count := processesIn(pid)
		if err := c.endNamespace(); err != nil {
			return nil, err
		}
		removed = append(removed, fmt.Sprintf("ended %d processes and all containers, and with them their mounts, networks and rules", count))
	}
	if present, ours := c.interfaceOwner(); present && ours {
		// The kernel removes it with the network namespace, but not at once.
		err := waitFor("interface "+c.hostInterface(), 2*time.Second, func() error {
			if present, _ := c.interfaceOwner(); present {
				return errors.New("it is still there")
			}
			return nil
		})
		if err != nil {
			if err := ip("link delete " + c.hostInterface()); err != nil {
				return removed, err
			}
		}
		removed = append(removed, "removed the interface "+c.hostInterface())
	}
	count, err := c.removeCgroups()
	if err != nil {
		return removed, err
	}
	if count > 0 {
		removed = append(removed, fmt.Sprintf("removed %d control groups", count))
	}
	if exists(c.Folder) {
		if mounts := c.mounts(); len(mounts) > 0 {
			return removed, fmt.Errorf("not removing %s: mounted below it are %s", c.Folder, strings.Join(mounts, " "))
		}
		if err := os.RemoveAll(c.Folder); err != nil {
			return removed, err
		}
		removed = append(removed, "removed "+c.Folder)
	}
	return removed, nil
}

// left lists what a user would have to remove by hand.
func (c *Cluster) left() []string {
	left := prefixed("control group ", c.cgroupsLeft())
	left = append(left, prefixed("mount ", c.mounts())...)
	if _, ours := c.interfaceOwner(); ours {
		left = append(left, "interface "+c.hostInterface())
	}
	if exists(c.Folder) {
		left = append(left, "folder "+c.Folder)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		text, err := os.ReadFile(file)
		// Only what runs from the folder or with a file of it; an editor or this program does not.
		if err == nil && strings.Contains(string(text), c.Folder+"/") {
			left = append(left, "process "+strings.Split(file, "/")[2]+": "+strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return left
}

// mounts below the folder, in this mount namespace.
func (c *Cluster) mounts() []string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var found []string
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], c.Folder+"/") {
			found = append(found, fields[1])
		}
	}
	return found
}

// processesIn counts the processes of the pid namespace whose first process is pid; containers have
// further ones below it.
func processesIn(pid int) int {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return 0
	}
	others, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	count := 0
	for _, other := range others {
		if link, err := os.Readlink(other); err == nil && link == own {
			count++
		}
	}
	return count
}

func prefixed(prefix string, lines []string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, prefix+line)
	}
	return all
}
