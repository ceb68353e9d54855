// Command kubernetes is every component of a one-node cluster in one binary; argv[0] chooses the
// component, because kubectl and its plugins read os.Args themselves.
//
// One process runs one component: klog, feature gates and metrics are globals of the process.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	components := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllermanager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kube-proxy":              proxy.NewProxyCommand,
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
		// The kubelet installs its own signal handler: a context that already has one panics.
		"kubelet": func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
		"etcd":    etcdCommand,
	}
	name := filepath.Base(os.Args[0])
	component, known := components[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s is not a component of this binary; link it as one of: kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl etcd\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(component()))
}

// etcdCommand serves one etcd member without fsync: the cluster is thrown away with its folder.
func etcdCommand() *cobra.Command {
	var dataDir, clientURL, peerURL string
	var quota int64
	command := &cobra.Command{
		Use:          "etcd",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			config := embed.NewConfig()
			config.Dir = dataDir
			config.UnsafeNoFsync = true
			config.QuotaBackendBytes = quota
			config.LogLevel = "warn"
			if err := listenOn(config, clientURL, peerURL); err != nil {
				return err
			}
			server, err := embed.StartEtcd(config)
			if err != nil {
				return fmt.Errorf("failed to start etcd in %s: %w", dataDir, err)
			}
			defer server.Close()
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
			select {
			case <-signals:
				return nil
			case err := <-server.Err():
				return fmt.Errorf("etcd stopped: %w", err)
			}
		},
	}
	command.Flags().StringVar(&dataDir, "data-dir", "", "folder of the member")
	command.Flags().StringVar(&clientURL, "listen-client-urls", "http://127.0.0.1:2379", "URL for clients")
	command.Flags().Int64Var(&quota, "quota-backend-bytes", 0, "most bytes that are stored; 0: 2 GiB")
	command.Flags().StringVar(&peerURL, "listen-peer-urls", "http://127.0.0.1:2380", "URL for peers")
	return command
}
