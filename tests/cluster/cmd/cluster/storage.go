package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// provisioner is the name in the StorageClass; the controller-manager leaves its claims to us.
const provisioner = "cluster.errortracking.dev/folder"

const storageClass = "folder"

// provision gives each claim of the default StorageClass a folder of the node, writable for every
// uid: a non-root pod can write it without fsGroup, which hostPath volumes ignore.
func provision(folder string) error {
	cluster, err := clusterAt(folder)
	if err != nil {
		return err
	}
	api, err := cluster.api("provisioner")
	if err != nil {
		return err
	}
	err = api.do(http.MethodPost, "/apis/storage.k8s.io/v1/storageclasses", map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
		"metadata":    map[string]any{"name": storageClass, "annotations": map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		"provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
	}, nil)
	if err != nil && !hasCode(err, http.StatusConflict) {
		return fmt.Errorf("failed to create the StorageClass: %w", err)
	}
	for ; ; time.Sleep(500 * time.Millisecond) {
		if err := cluster.bindClaims(api); err != nil {
			fmt.Fprintln(os.Stderr, "claims:", err)
		}
		if err := cluster.removeVolumes(api); err != nil {
			fmt.Fprintln(os.Stderr, "volumes:", err)
		}
	}
}

func (c *Cluster) bindClaims(api *api) error {
	var claims struct {
		Items []claimObject `json:"items"`
	}
	if err := api.get("/api/v1/persistentvolumeclaims", &claims); err != nil {
		return err
	}
	for _, claim := range claims.Items {
		if claim.Spec.StorageClassName != storageClass || claim.Status.Phase != "Pending" {
			continue
		}
		name := "pvc-" + claim.Metadata.UID
		path := c.path("volumes", name)
		if err := os.MkdirAll(path, 0o777); err != nil {
			return err
		}
		// Mkdir's mode is cut by the umask.
		if err := os.Chmod(path, 0o777); err != nil {
			return err
		}
		err := api.do(http.MethodPost, "/api/v1/persistentvolumes", map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolume",
			"metadata": map[string]any{"name": name, "annotations": map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
			"spec": map[string]any{
				"capacity": claim.Spec.Resources.Requests, "accessModes": claim.Spec.AccessModes,
				"persistentVolumeReclaimPolicy": "Delete", "storageClassName": storageClass,
				"hostPath": map[string]string{"path": path, "type": "Directory"},
				"claimRef": map[string]string{
					"apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": claim.Metadata.UID,
					"namespace": claim.Metadata.Namespace, "name": claim.Metadata.Name,
				},
			},
		}, nil)
		if err != nil && !hasCode(err, http.StatusConflict) {
			return fmt.Errorf("claim %s/%s: %w", claim.Metadata.Namespace, claim.Metadata.Name, err)
		}
	}
	return nil
}

// removeVolumes removes the folder of a volume whose claim is gone, as reclaimPolicy Delete promises.
func (c *Cluster) removeVolumes(api *api) error {
	var volumes struct {
		Items []volumeObject `json:"items"`
	}
	if err := api.get("/api/v1/persistentvolumes", &volumes); err != nil {
		return err
	}
	for _, volume := range volumes.Items {
		ours := volume.Metadata.Annotations["pv.kubernetes.io/provisioned-by"] == provisioner
		if !ours || volume.Status.Phase != "Released" || volume.Spec.PersistentVolumeReclaimPolicy != "Delete" {
			continue
		}
		if filepath.Dir(volume.Spec.HostPath.Path) != c.path("volumes") {
			return fmt.Errorf("volume %s is not below %s", volume.Metadata.Name, c.path("volumes"))
		}
		if err := os.RemoveAll(volume.Spec.HostPath.Path); err != nil {
			return err
		}
		if err := api.do(http.MethodDelete, "/api/v1/persistentvolumes/"+volume.Metadata.Name, nil, nil); err != nil && !hasCode(err, http.StatusNotFound) {
			return err
		}
	}
	return nil
}
