package main

import (
	"fmt"
	"net"
	"time"
)

// auditPolicy keeps every write, which tests compare with what they expect, and every request of a
// service account that is not Kubernetes' own, which tests compare with the rights it was given.
// Nothing of a body is kept.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

// etcdAddress is inside the network namespace, where no other cluster's etcd can be.
const etcdAddress = "127.0.0.1:2379"

// etcdQuota is the largest that etcd's documentation advises: tests store thousands of objects of a megabyte.
const etcdQuota = 8 << 30

func (c *Cluster) startControlPlane(done func(string)) error {
	if err := c.keepRunning("etcd", c.tool("etcd"), "--data-dir="+c.path("etcd"), "--listen-client-urls=http://"+etcdAddress,
		fmt.Sprintf("--quota-backend-bytes=%d", etcdQuota)); err != nil {
		return err
	}
	if err := waitFor("etcd", 30*time.Second, func() error {
		connection, err := net.Dial("tcp", etcdAddress)
		if err == nil {
			_ = connection.Close()
		}
		return err
	}); err != nil {
		return err
	}
	done("etcd")
	if err := c.keepRunning("kube-apiserver", c.tool("kube-apiserver"), c.apiServerFlags()...); err != nil {
		return err
	}
	api, err := c.api("admin")
	if err != nil {
		return err
	}
	if err := waitFor("API server", 60*time.Second, func() error { return api.get("/readyz", nil) }); err != nil {
		return err
	}
	done("API server")
	if err := c.keepRunning("kube-controller-manager", c.tool("kube-controller-manager"), append(c.threeKubeconfigs("controller-manager"),
		"--bind-address=127.0.0.1",
		"--root-ca-file="+c.certificate("ca"),
		"--service-account-private-key-file="+c.key("service-accounts"),
		"--cluster-signing-cert-file="+c.certificate("ca"),
		"--cluster-signing-key-file="+c.key("ca"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		// The default of 20 requests/s makes the start of its 40 controllers take 5 s.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	)...); err != nil {
		return err
	}
	return c.keepRunning("kube-scheduler", c.tool("kube-scheduler"), append(c.threeKubeconfigs("scheduler"),
		"--bind-address=127.0.0.1", "--leader-elect=false")...)
}

func (c *Cluster) threeKubeconfigs(user string) []string {
	file := c.kubeconfig(user)
	return []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file, "--authorization-kubeconfig=" + file}
}

func (c *Cluster) apiServerFlags() []string {
	return []string{
		"--etcd-servers=http://" + etcdAddress,
		// The node's end of the interface pair: the only way in is from this machine.
		fmt.Sprintf("--bind-address=%s", c.Network.node()),
		fmt.Sprintf("--advertise-address=%s", c.Network.node()),
		"--secure-port=6443",
		"--tls-cert-file=" + c.certificate("apiserver"),
		"--tls-private-key-file=" + c.key("apiserver"),
		"--client-ca-file=" + c.certificate("ca"),
		"--authorization-mode=Node,RBAC",
		// The second makes the right to "update" an owner's finalizers needed, as OpenShift does.
		"--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + c.Network.services(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("pki", "service-accounts.pub"),
		"--service-account-signing-key-file=" + c.key("service-accounts"),
		"--kubelet-client-certificate=" + c.certificate("kubelet-client"),
		"--kubelet-client-key=" + c.key("kubelet-client"),
		"--kubelet-certificate-authority=" + c.certificate("ca"),
		// Else logs, exec and port-forward look up the node's name.
		"--kubelet-preferred-address-types=InternalIP",
		// Without these four the controller-manager and the scheduler log errors without end.
		"--requestheader-client-ca-file=" + c.certificate("ca"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.certificate("front-proxy"),
		"--proxy-client-key-file=" + c.key("front-proxy"),
		"--audit-policy-file=" + c.path("audit-policy.yaml"),
		"--audit-log-path=" + c.path("logs", "audit.log"),
		// Megabytes. Tests read from a place in it: a bench with 10,000 objects must not turn it over.
		"--audit-log-maxsize=1000",
		"--audit-log-maxbackup=1",
	}
}
