package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// An api is a client of the cluster's API server, without client-go: seven requests do not justify
// compiling it.
type api struct {
	base   string
	client *http.Client
}

// An apiError is an answer of the API server other than 2xx.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return fmt.Sprintf("%d: %.300s", e.code, e.text) }

func hasCode(err error, code int) bool {
	var answer *apiError
	return errors.As(err, &answer) && answer.code == code
}

func (c *Cluster) api(user string) (*api, error) {
	return c.apiAt(user, "https://"+c.Network.node().String()+":6443")
}

func (c *Cluster) apiAt(user, base string) (*api, error) {
	authority, err := os.ReadFile(c.certificate("ca"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	pair, err := tls.LoadX509KeyPair(c.certificate(user), c.key(user))
	if err != nil {
		return nil, err
	}
	return &api{base: base, client: &http.Client{
		Timeout: 5 * time.Second,
		// No Proxy: the machine's HTTP proxy does not know these addresses.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}},
	}}, nil
}

func (a *api) get(path string, into any) error { return a.do(http.MethodGet, path, nil, into) }

func (a *api) do(method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, a.base+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return &apiError{response.StatusCode, string(text)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// The few fields that are read of Kubernetes' objects.
type (
	metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		UID         string            `json:"uid"`
		Annotations map[string]string `json:"annotations"`
	}
	nodeObject struct {
		Spec struct {
			Taints []struct{ Key string } `json:"taints"`
		} `json:"spec"`
		Status struct {
			Conditions []struct{ Type, Status, Message string } `json:"conditions"`
			NodeInfo   struct {
				KubeletVersion          string `json:"kubeletVersion"`
				ContainerRuntimeVersion string `json:"containerRuntimeVersion"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	podList struct {
		Items []struct {
			Metadata metadata `json:"metadata"`
			Status   struct {
				Phase             string `json:"phase"`
				ContainerStatuses []struct {
					Ready        bool `json:"ready"`
					RestartCount int  `json:"restartCount"`
				} `json:"containerStatuses"`
			} `json:"status"`
		} `json:"items"`
	}
	claimObject struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			StorageClassName string   `json:"storageClassName"`
			AccessModes      []string `json:"accessModes"`
			Resources        struct {
				Requests map[string]string `json:"requests"`
			} `json:"resources"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	volumeObject struct {
		Metadata metadata `json:"metadata"`
		Spec     struct {
			HostPath                      struct{ Path string } `json:"hostPath"`
			PersistentVolumeReclaimPolicy string                `json:"persistentVolumeReclaimPolicy"`
		} `json:"spec"`
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
)
