package harness

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// A container image that no registry has ever seen: a statically linked busybox, in the layout of the OCI's image
// specification, as a tar file that containerd imports.
const imageName = "slicer.invalid/busybox:1"

// What busybox is called in the image.
var applets = []string{"sh", "sleep", "httpd", "wget", "cat", "ping", "true"}

type tarFile struct{ *tar.Writer }

func (f tarFile) put(t *testing.T, header tar.Header, content []byte) {
	t.Helper()
	header.Size = int64(len(content))
	if header.Mode == 0 {
		header.Mode = 0o755
	}
	check(t, f.WriteHeader(&header))
	_, err := f.Write(content)
	check(t, err)
}

func newTar(t *testing.T, fill func(f tarFile)) []byte {
	t.Helper()
	var text bytes.Buffer
	f := tarFile{tar.NewWriter(&text)}
	fill(f)
	check(t, f.Close())
	return text.Bytes()
}

func rootfs(t *testing.T) []byte {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		skip(t, "no /bin/busybox to make an image from: install busybox-static")
	}
	return newTar(t, func(f tarFile) {
		for _, folder := range []string{"bin", "dev", "etc", "proc", "run", "sys", "tmp", "www"} {
			f.put(t, tar.Header{Name: folder, Typeflag: tar.TypeDir}, nil)
		}
		f.put(t, tar.Header{Name: "bin/busybox"}, busybox)
		for _, applet := range applets {
			f.put(t, tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
		}
		f.put(t, tar.Header{Name: "www/index.html", Mode: 0o644}, []byte("a page of the pod\n"))
	})
}

func digest(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// writeImage makes the image's tar file at path.
func writeImage(t *testing.T, path string) {
	t.Helper()
	layer := rootfs(t)
	marshal := func(value any) []byte {
		text, err := json.Marshal(value)
		check(t, err)
		return text
	}
	blob := func(kind string, content []byte) object {
		return object{"mediaType": "application/vnd.oci.image." + kind, "digest": digest(content), "size": len(content)}
	}
	config := marshal(object{"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Cmd": []string{"/bin/sleep", "600"}, "Env": []string{"PATH=/bin"}},
		"rootfs": object{"type": "layers", "diff_ids": []string{digest(layer)}}})
	manifest := marshal(object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": blob("config.v1+json", config), "layers": []any{blob("layer.v1.tar", layer)}})
	entry := blob("manifest.v1+json", manifest)
	entry["annotations"] = object{"io.containerd.image.name": imageName}
	image := newTar(t, func(f tarFile) {
		f.put(t, tar.Header{Name: "oci-layout"}, []byte(`{"imageLayoutVersion":"1.0.0"}`))
		f.put(t, tar.Header{Name: "index.json"}, marshal(object{"schemaVersion": 2, "manifests": []any{entry}}))
		for _, content := range [][]byte{config, manifest, layer} {
			f.put(t, tar.Header{Name: "blobs/sha256/" + digest(content)[len("sha256:"):]}, content)
		}
	})
	check(t, os.WriteFile(path, image, 0o600))
}
