package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// The test program is a CNI plugin, too, when it is started by that one's name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == redirectTapName {
		runRedirectTap()
		return
	}
	os.Exit(m.Run())
}
