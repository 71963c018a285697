#include "runner/ssh/runner_key.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>

#include "lib/base/whole_file.h"
#include "runner/process/child.h"
#include "runner/process/program_path.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kLockLimit = 10s;
constexpr size_t kMaxKey = 16384;

std::string folder_of(const Settings& settings) { return settings.data_dir + "/ssh"; }

std::string private_file(const Settings& settings) { return folder_of(settings) + "/id_ed25519"; }

Result<std::string> keygen(const std::vector<std::string>& arguments) {
  ChildSpec spec;
  spec.argv = {TRY(find_program("ssh-keygen", "apt install openssh-client"))};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  Pipe output = TRY(make_pipe());
  spec.out = output.write_end.get();
  Child child = TRY(Child::start(spec));
  output.write_end.reset();
  std::string text = TRY(read_fd(output.read_end.get(), kMaxKey));
  const int code = child.wait();
  if (code == 0) return text;
  return fail(Kind::kSystem, "ssh-keygen ended with exit code " + std::to_string(code));
}

std::string host_name() {
  std::string name(HOST_NAME_MAX + 1, '\0');
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  name.resize(name.find('\0'));
  return name;
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return fail_errno(errno, "rename '" + from + "'");
  return {};
}

// The private half gets its name last: where it is, the public one is.
Result<void> make_key(const std::string& file) {
  const std::string fresh = file + ".new";
  TRY(delete_file(fresh));
  TRY(delete_file(fresh + ".pub"));
  (void)TRY(keygen({"-q", "-t", "ed25519", "-N", "", "-C", "slicer-run@" + host_name(), "-f", fresh}));
  TRY(rename_file(fresh + ".pub", file + ".pub"));
  return rename_file(fresh, file);
}

Result<void> make_public_half(const std::string& file) {
  return write_whole_file(file + ".pub", TRY(keygen({"-y", "-f", file})), {.mode = 0644});
}

}  // namespace

std::string public_key_file(const Settings& settings) { return private_file(settings) + ".pub"; }

Result<RunnerKey> load_runner_key(const Settings& settings) {
  RunnerKey key;
  key.file = private_file(settings);
  if (access(key.file.c_str(), F_OK) != 0)
    return fail(Kind::kNotFound, "open slicer-run's SSH key '" + key.file + "': not there");
  key.public_line = TRY(read_file(key.file + ".pub", kMaxKey));
  while (!key.public_line.empty() && key.public_line.back() == '\n') key.public_line.pop_back();
  return key;
}

Result<RunnerKey> ensure_runner_key(const Settings& settings) {
  if (Result<RunnerKey> key = load_runner_key(settings)) return key;
  TRY(ensure_directory(settings.data_dir));
  TRY(ensure_directory(folder_of(settings), 0700));
  const FileLock lock = TRY(FileLock::acquire(folder_of(settings) + "/lock", kLockLimit));
  const std::string file = private_file(settings);
  if (access(file.c_str(), F_OK) != 0)
    TRY(make_key(file).context("make slicer-run's SSH key '" + file + "'"));
  else if (access((file + ".pub").c_str(), F_OK) != 0)
    TRY(make_public_half(file).context("make slicer-run's SSH key '" + file + ".pub'"));
  return load_runner_key(settings);
}

}  // namespace slicer::runner
