// Command cluster runs a real one-node Kubernetes for the tests and the demo, from Go modules and
// Debian packages only: no registry, no Docker, no downloaded binary.
//
//	cluster up     --name NAME             start it, or say that it runs; --network-policies: with them enforced
//	cluster down   --name NAME             end it; nothing of it is left on the machine
//	cluster status --name NAME             components, node and pods
//	cluster env    --name NAME             shell lines: KUBECONFIG and PATH
//	cluster load   --name NAME FILE.tar…   import OCI archives into the node
//	cluster logs   --name NAME [COMPONENT] where the logs are, or the end of one of them
//	cluster signal --name NAME --namespace NS --pod PREFIX --container C SIGKILL
//	cluster restart --name NAME COMPONENT  end it as a crash would; its supervisor starts it again
//	cluster cut    --name NAME COMPONENT   it hears nothing more from the API server, for some 20 s
//	cluster mend   --name NAME             it does again
//	cluster build                          build the binaries and stop
//
// Only the standard library is imported, so that `go run` compiles it in seconds.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

const usage = "usage: cluster up|down|status|env|load|logs|signal|restart|cut|mend|build [--name NAME] …"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

func run(command string, arguments []string) error {
	flags := flag.NewFlagSet("cluster "+command, flag.ExitOnError)
	name := flags.String("name", "test", "name of the cluster")
	folder := flags.String("folder", "", "folder of the cluster (of the commands that up starts itself)")
	namespace := flags.String("namespace", "default", "signal: namespace of the pod")
	policies := flags.Bool("network-policies", false, "up: enforce NetworkPolicies")
	pod := flags.String("pod", "", "signal: beginning of the pod's name")
	container := flags.String("container", "", "signal: name of the container")
	if err := flags.Parse(arguments); err != nil {
		return err
	}

	// What up starts inside the cluster's namespaces.
	switch command {
	case "supervise":
		return supervise(*folder)
	case "provision":
		return provision(*folder)
	case "build":
		_, err := buildAll(*policies)
		return err
	}

	cluster, err := clusterNamed(*name)
	if err != nil {
		return err
	}
	switch command {
	case "up":
		return cluster.up(*policies)
	case "down":
		return cluster.down()
	case "status":
		return cluster.status()
	case "env":
		return cluster.printEnvironment()
	case "load":
		return cluster.load(flags.Args())
	case "logs":
		return cluster.logs(flags.Args())
	case "restart":
		if flags.NArg() != 1 {
			return errors.New("usage: cluster restart --name NAME COMPONENT")
		}
		return cluster.restart(flags.Arg(0))
	case "cut":
		if flags.NArg() != 1 {
			return errors.New("usage: cluster cut --name NAME COMPONENT")
		}
		return cluster.cut(flags.Arg(0))
	case "mend":
		return cluster.mend()
	case "signal":
		if flags.NArg() != 1 || *pod == "" || *container == "" {
			return errors.New("usage: cluster signal --name NAME --namespace NS --pod PREFIX --container C SIGNAL")
		}
		return cluster.signal(*namespace, *pod, *container, strings.ToUpper(flags.Arg(0)))
	}
	return fmt.Errorf("%q is not a command; %s", command, usage)
}
