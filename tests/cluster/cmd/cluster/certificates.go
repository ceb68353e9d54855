package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// validity is longer than any test run; the certificates go with the folder.
const validity = 30 * 24 * time.Hour

// An identity is a certificate the cluster's own authority signs. user and group are Kubernetes'
// (CN and O of the subject).
type identity struct {
	file, user, group string
	server            bool
	kubeconfig        bool
}

var identities = []identity{
	{file: "apiserver", user: "kube-apiserver", server: true},
	{file: "kubelet-server", user: node, server: true},
	{file: "kubelet-client", user: "kube-apiserver-kubelet-client", group: "system:masters"},
	{file: "front-proxy", user: "front-proxy-client"},
	{file: "admin", user: "admin", group: "system:masters", kubeconfig: true},
	{file: "controller-manager", user: "system:kube-controller-manager", kubeconfig: true},
	{file: "scheduler", user: "system:kube-scheduler", kubeconfig: true},
	{file: "proxy", user: "system:kube-proxy", kubeconfig: true},
	{file: "kubelet", user: "system:node:" + node, group: "system:nodes", kubeconfig: true},
	// These three read (and the last writes) what no built-in role of a user has.
	{file: "coredns", user: "coredns", group: "system:masters", kubeconfig: true},
	{file: "kube-router", user: "kube-router", group: "system:masters", kubeconfig: true},
	{file: "provisioner", user: "provisioner", group: "system:masters", kubeconfig: true},
}

func (c *Cluster) certificate(name string) string { return c.path("pki", name+".crt") }
func (c *Cluster) key(name string) string         { return c.path("pki", name+".key") }
func (c *Cluster) kubeconfig(name string) string  { return c.path("pki", name+".kubeconfig") }

// writeCertificates makes one authority and everything it signs. Elliptic keys, because eleven RSA
// keys take seconds; service account tokens stay RSA, as the reference clusters have them.
func (c *Cluster) writeCertificates() error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "error-tracking-cluster-" + c.Name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true,
	}
	if err := c.sign("ca", authority, authority, authorityKey, authorityKey); err != nil {
		return err
	}
	for i, id := range identities {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: id.user},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if id.group != "" {
			template.Subject.Organization = []string{id.group}
		}
		if id.server {
			template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
			template.DNSNames = []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", node}
			template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), c.Network.node(), c.Network.apiService()}
		}
		if err := c.sign(id.file, template, authority, key, authorityKey); err != nil {
			return err
		}
		if id.kubeconfig {
			if err := writeFile(c.kubeconfig(id.file), c.kubeconfigText(id.file), 0o600); err != nil {
				return err
			}
		}
	}
	if err := writeFile(c.path("kubeconfig"), c.kubeconfigText("admin"), 0o600); err != nil {
		return err
	}
	return c.writeServiceAccountKey()
}

func (c *Cluster) sign(name string, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return fmt.Errorf("failed to sign the certificate %s: %w", name, err)
	}
	if err := writePEM(c.certificate(name), "CERTIFICATE", der); err != nil {
		return err
	}
	return writePrivateKey(c.key(name), key)
}

func (c *Cluster) writeServiceAccountKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(c.path("pki", "service-accounts.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writePrivateKey(c.key("service-accounts"), key)
}

func writePrivateKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return writeFile(path, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), 0o600)
}

func (c *Cluster) kubeconfigText(user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster: {server: "https://%[2]s:6443", certificate-authority: %[3]s}
users:
- name: %[4]s
  user: {client-certificate: %[5]s, client-key: %[6]s}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[4]s}
current-context: %[1]s
`, c.Name, c.Network.node(), c.certificate("ca"), user, c.certificate(user), c.key(user))
}
