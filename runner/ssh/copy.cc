#include "runner/ssh/copy.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "runner/process/child.h"
#include "runner/ssh/arrival.h"
#include "runner/ssh/guest_words.h"
#include "runner/ssh/host_tar.h"
#include "runner/ssh/runner_key.h"
#include "runner/ssh/ssh_log.h"
#include "runner/supervisor/signals.h"

namespace slicer::runner {
namespace {

// The last member of the stream: without it the stream was cut off, and tar may not have noticed.
constexpr const char* kEnd = ".slicer-cp.end";

// $1: the target, $2: the name in the stream, "." for a folder's content, $3: that folder's mode, for a new target.
// What comes is unpacked beside its place, and moved there when all of it has come.
constexpr const char* kReceive = R"(set -e
d=${1:-.} n=$2
put() {
  if [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$2" ] && [ ! -L "$2" ]; then
    for each in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      if [ -e "$each" ] || [ -L "$each" ]; then put "$each" "$2/${each##*/}"; fi
    done
  elif [ -d "$2" ] && [ ! -L "$2" ]; then echo "'$2' is a folder" >&2; exit 1
  else
    if [ -L "$2" ] && [ -d "$2" ]; then rm -f -- "$2"; fi
    mv -f -- "$1" "$2"
  fi
}
case $d in
  */) if [ "$n" != . ] && [ ! -d "$d" ]; then echo "'$d' is no folder" >&2; exit 1; fi ;;
esac
while case $d in ?*/) true ;; *) false ;; esac; do d=${d%/}; done
p=$d
if [ ! -d "$d" ]; then p=$(dirname -- "$d"); fi
if [ "$n" = . ]; then mkdir -p -- "$p"; fi
t=$(mktemp -d "$p/.slicer-cp.XXXXXX")
trap 'rm -rf -- "$t"' EXIT
trap 'exit 1' HUP INT TERM PIPE
tar -xpof - -C "$t"
if [ ! -e "$t/.slicer-cp.end" ]; then echo "the copy was cut off" >&2; exit 1; fi
rm -f -- "$t/.slicer-cp.end"
if [ -d "$d" ]; then
  if [ "$n" = . ]; then put "$t" "$d/."; else put "$t/$n" "$d/$n"; fi
elif [ "$n" = . ]; then
  chmod "$3" "$t"
  mv -- "$t" "$d"
else
  mv -f -- "$t/$n" "$d"
fi)";

// $1: the folder, $2: what to take there. A name that is a link to a file is taken as the file.
constexpr const char* kSend = R"(cd -- "${1:-.}"
h=
if [ -L "$2" ] && [ -f "$2" ]; then h=-h; fi
exec tar -cf - $h -- "$2")";

std::string base_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

// The names in a folder, each with a zero behind it, to be read from the start. The folder itself is not among them:
// with it tar would give its mode to a target that has one.
Result<UniqueFd> names_in(const std::string& folder) {
  std::string names;
  std::error_code error;
  for (std::filesystem::directory_iterator each(folder, error), end; !error && each != end; each.increment(error))
    names += each->path().filename().string() + '\0';
  if (error) return fail_errno(error.value(), "read folder '" + folder + "'");
  UniqueFd file(memfd_create("names", MFD_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "make a file in memory");
  if (write(file.get(), names.data(), names.size()) != static_cast<ssize_t>(names.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0)
    return fail_errno(errno, "write a file in memory");
  return file;
}

Result<void> wait_for(const Child& child, const Signals& signals, GuestWords& words) {
  for (;;) {
    std::array<pollfd, 3> waiting = {{{.fd = child.pidfd(), .events = POLLIN, .revents = 0},
                                      {.fd = signals.fd(), .events = POLLIN, .revents = 0},
                                      {.fd = words.fd(), .events = POLLIN, .revents = 0}}};
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return fail_errno(errno, "wait for a copy");
    if (signals.take() != 0) return fail(Kind::kUnavailable, "copy: interrupted");
    words.take();
    if (waiting[0].revents != 0) return {};
  }
}

// Two programs, the first's output the second's input, to their ends. A signal ends both.
struct Ended {
  int sender = 0;
  int receiver = 0;
};
Result<Ended> join(ChildSpec sender, ChildSpec receiver, const Signals& signals, GuestWords& words) {
  Pipe pipe = TRY(make_pipe());
  sender.out = pipe.write_end.get();
  receiver.in = pipe.read_end.get();
  Child first = TRY(Child::start(sender));
  Child second = TRY(Child::start(receiver));
  pipe = {};
  words.close_child_end();
  TRY(wait_for(second, signals, words));
  TRY(wait_for(first, signals, words));
  words.take();
  const int received = second.wait();
  return Ended{.sender = first.wait(), .receiver = received};
}

Result<void> judge(int tar, int ssh) {
  if (tar == 0 && ssh == 0) return {};
  const std::string who = ssh != 0 ? "the guest's end" : "tar on this machine";
  return fail(Kind::kIo, "copy: " + who + " ended with exit code " + std::to_string(ssh != 0 ? ssh : tar));
}

Result<ChildSpec> ssh_child(const Settings& settings, const CopyWish& wish, const SshLog& log, const GuestWords& words,
                            std::vector<std::string> command) {
  SshWish ssh = wish.ssh;
  ssh.more = {"-E", log.path()};
  ssh.command = std::move(command);
  ChildSpec child;
  child.argv = TRY(ssh_argv(settings, wish.vm, ssh));
  child.err = words.child_end();
  return child;
}

void tell(const Settings& settings, const CopyWish& wish, const SshLog& log, int code) {
  if (code == kSshFailed) log.tell(wish.vm, known_hosts_file(settings, wish.vm), public_key_file(settings));
}

// A folder of root's alone beside the target, on its file system; gone with the object, and what is still in it.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make(const std::string& parent) {
    std::string path = (parent.empty() ? "." : parent) + "/.slicer-cp.XXXXXX";
    if (mkdtemp(path.data()) == nullptr) return fail_errno(errno, "make a folder in '" + parent + "'");
    return TemporaryFolder(std::move(path));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Where what comes out of the guest goes, decided before anything is asked of it.
struct Place {
  std::string folder = {};  ///< there already
  std::string name = {};    ///< in it; empty: the name that it has in the guest
};
Result<Place> find_place(const CopyWish& wish, const CopySource& source) {
  if (source.name == ".") {
    if (mkdir(wish.target.c_str(), 0777) != 0 && errno != EEXIST)
      return fail_errno(errno, "make folder '" + wish.target + "'");
    return Place{.folder = wish.target};
  }
  if (is_folder(wish.target)) return Place{.folder = wish.target, .name = source.name};
  if (wish.target.ends_with('/')) return fail(Kind::kNotFound, "copy to '" + wish.target + "': it is no folder");
  const std::filesystem::path parent = std::filesystem::path(wish.target).parent_path();
  return Place{.folder = parent.empty() ? "." : parent.string(), .name = base_name(wish.target)};
}

}  // namespace

CopyEnd parse_copy_end(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos || text.find('/') < colon) return {.path = text};
  return {.vm = text.substr(0, colon), .path = text.substr(colon + 1)};
}

CopySource split_source(const std::string& path) {
  std::string rest = path;
  if (rest.empty() || rest == "." || rest == "/." || rest.ends_with("/."))
    return {.folder = rest.empty() ? "." : rest, .name = "."};
  while (rest.size() > 1 && rest.ends_with('/')) rest.pop_back();
  if (rest == "/" || rest == ".." || rest.ends_with("/..")) return {.folder = rest, .name = "."};
  const size_t slash = rest.rfind('/');
  if (slash == std::string::npos) return {.folder = ".", .name = rest};
  return {.folder = slash == 0 ? "/" : rest.substr(0, slash), .name = rest.substr(slash + 1)};
}

Result<void> copy_in(const Settings& settings, const CopyWish& wish) {
  struct stat info{};
  if (stat(wish.source.c_str(), &info) != 0) return fail_errno(errno, "copy '" + wish.source + "'");
  const CopySource source = split_source(wish.source);
  const SshLog log = TRY(SshLog::make());
  const Signals signals = TRY(Signals::block());  // before the folder, which must not stay
  const TemporaryFolder end = TRY(TemporaryFolder::make(settings.state_dir));
  TRY(write_whole_file(end.path() + "/" + kEnd, ""));
  ChildSpec tar;
  tar.argv = {TRY(find_gnu_tar()), "-C", source.folder, "-cf", "-"};
  // A name that is a link to a file is taken as the file.
  if (S_ISREG(info.st_mode)) tar.argv.emplace_back("-h");
  UniqueFd names;
  if (source.name == ".") {
    names = TRY(names_in(wish.source));
    tar.in = names.get();
    tar.argv.insert(tar.argv.end(), {"--null", "-T", "-"});
  } else {
    tar.argv.push_back("--add-file=" + source.name);  // whatever it begins with
  }
  tar.argv.insert(tar.argv.end(), {"-C", std::filesystem::absolute(end.path()).string(), kEnd});
  GuestWords words = TRY(GuestWords::open());
  const ChildSpec ssh = TRY(ssh_child(
      settings, wish, log, words,
      {"sh", "-c", kReceive, "slicer-run", wish.target, source.name, fmt::format("{:o}", info.st_mode & 07777U)}));
  const Ended ended = TRY(join(tar, ssh, signals, words));
  tell(settings, wish, log, ended.receiver);
  return judge(ended.sender, ended.receiver);
}

Result<void> copy_out(const Settings& settings, const CopyWish& wish) {
  const CopySource source = split_source(wish.source);
  const Place place = TRY(find_place(wish, source));
  const Signals signals = TRY(Signals::block());  // before the folder, which must not stay
  const TemporaryFolder fresh = TRY(TemporaryFolder::make(place.folder));
  const SshLog log = TRY(SshLog::make());
  GuestWords words = TRY(GuestWords::open());
  const ChildSpec ssh =
      TRY(ssh_child(settings, wish, log, words, {"sh", "-c", kSend, "slicer-run", source.folder, source.name}));
  ChildSpec tar;
  // GNU tar keeps names with ".." and links that lead outside from doing harm; the folder is new besides.
  tar.argv = {TRY(find_gnu_tar()), "-C", fresh.path(), "--no-same-owner", "-xpf", "-"};
  const Ended ended = TRY(join(ssh, tar, signals, words));
  tell(settings, wish, log, ended.sender);
  TRY(judge(ended.receiver, ended.sender));
  TRY(check_arrival(fresh.path()));
  if (source.name == ".") return put_in_place(fresh.path(), place.folder);
  return put_in_place(fresh.path() + "/" + source.name, place.folder + "/" + place.name);
}

}  // namespace slicer::runner
