#include "tests/system/conformance/firewalld.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/system/fixture/process.h"

namespace slicer::test::conformance {
namespace {

namespace fs = std::filesystem;

// Its package is laid over /usr and /etc: an installed one would take the machine's firewall over. $1: the package,
// $2: a folder for the bus.
constexpr const char* kStart = R"(
    set -e
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /var/log
    mkdir -p /run/over /run/work
    mount -t overlay overlay /usr -o "lowerdir=$1/usr:/usr"
    mount -t overlay overlay /etc -o "lowerdir=$1/etc:/etc,upperdir=/run/over,workdir=/run/work"
    dbus-daemon --config-file="$2/bus.conf" --nofork --nopidfile &
    for i in $(seq 500); do [ -S "$2/bus" ] && break; sleep 0.01; done
    DBUS_SYSTEM_BUS_ADDRESS="unix:path=$2/bus" exec firewalld --nofork --nopid
)";

constexpr const char* kName = "org.fedoraproject.FirewallD1";
constexpr const char* kPath = "/org/fedoraproject/FirewallD1";

std::string package() {
  const char* named = std::getenv("SLICER_FIREWALLD_DIR");
  return named != nullptr ? named : SLICER_SOURCE_DIR "/build/firewalld";
}

class Daemon {
 public:
  Daemon() : folder_(fs::temp_directory_path() / ("slicer-bus-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    std::ofstream(folder_ / "bus.conf")
        << "<busconfig><type>system</type><listen>unix:path=" << (folder_ / "bus").string()
        << "</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>"
           "<allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>\n";
    address_ = "unix:path=" + (folder_ / "bus").string();
    daemon_ = std::make_unique<Background>(
        std::vector<std::string>{"unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                                 "--propagation", "private", "sh", "-c", kStart, "sh", package(), folder_.string()},
        "");
    const bool up = eventually([&] { return call("getZones", {}).ok(); }, std::chrono::seconds(20));
    if (!up) give_up("firewalld of " + package() + " does not answer");
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() {
    daemon_.reset();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] Outcome call(const std::string& method, const std::vector<std::string>& arguments) const {
    std::vector<std::string> line{"busctl", "--address=" + address_,      "call", kName,
                                  kPath,    std::string(kName) + ".zone", method};
    line.insert(line.end(), arguments.begin(), arguments.end());
    return run(line);
  }

 private:
  fs::path folder_;
  std::string address_;
  std::unique_ptr<Background> daemon_;
};

const Daemon& daemon() {
  static const Daemon started;
  return started;
}

}  // namespace

bool has_firewalld() { return fs::exists(package() + "/usr/sbin/firewalld"); }

const std::string& firewalld_bus() { return daemon().address(); }

bool is_trusted_source(const std::string& source) {
  const Outcome asked = daemon().call("querySource", {"ss", "trusted", source});
  if (!asked.ok()) give_up("ask for source '" + source + "': " + asked.err);
  return asked.out == "b true\n";
}

void remove_trusted_source(const std::string& source) {
  const Outcome done = daemon().call("removeSource", {"ss", "trusted", source});
  if (!done.ok()) give_up("remove source '" + source + "': " + done.err);
}

}  // namespace slicer::test::conformance
