package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// writeSandboxImage packs the pause program as an OCI archive of one layer: oci-layout, index.json
// with the name, and the blobs (the OCI image specification's image layout).
func (c *Cluster) writeSandboxImage() error {
	program, err := os.ReadFile(c.tool("pause"))
	if err != nil {
		return err
	}
	layer, err := archive(map[string][]byte{"pause": program})
	if err != nil {
		return err
	}
	blobs := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	config, err := descriptor(blobs, "application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/pause"}, "User": "65535:65535"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return err
	}
	manifest, err := descriptor(blobs, "application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
		"layers": []any{blob(blobs, "application/vnd.oci.image.layer.v1.tar", layer)},
	})
	if err != nil {
		return err
	}
	manifest["annotations"] = map[string]string{"io.containerd.image.name": sandboxImage, "org.opencontainers.image.ref.name": sandboxImage}
	if blobs["index.json"], err = json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}}); err != nil {
		return err
	}
	image, err := archive(blobs)
	if err != nil {
		return err
	}
	return os.WriteFile(c.path("pause.tar"), image, 0o644)
}

func digest(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

func blob(blobs map[string][]byte, mediaType string, content []byte) map[string]any {
	blobs["blobs/sha256/"+digest(content)[len("sha256:"):]] = content
	return map[string]any{"mediaType": mediaType, "digest": digest(content), "size": len(content)}
}

func descriptor(blobs map[string][]byte, mediaType string, value any) (map[string]any, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return blob(blobs, mediaType, content), nil
}

func archive(files map[string][]byte) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for name, content := range files {
		if err := writer.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(content); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}
