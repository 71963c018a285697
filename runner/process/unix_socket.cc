#include "runner/process/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

struct Endpoint {
  UniqueFd folder = {};
  UniqueFd socket = {};
  sockaddr_un address = {};
};

Result<Endpoint> endpoint(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = path.substr(0, slash);
  Endpoint end;
  end.folder = UniqueFd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!end.folder.valid()) return fail_errno(errno, "open folder '" + folder + "'");
  end.socket = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!end.socket.valid()) return fail_errno(errno, "make a socket");
  end.address.sun_family = AF_UNIX;
  const std::string name = "/proc/self/fd/" + std::to_string(end.folder.get()) + path.substr(slash);
  (void)name.copy(end.address.sun_path, sizeof end.address.sun_path - 1);
  return end;
}

}  // namespace

Result<UniqueFd> listen_on(const std::string& path) {
  Endpoint end = TRY(endpoint(path));
  TRY(delete_file(path));
  const auto* address = reinterpret_cast<const sockaddr*>(&end.address);  // the sockets API
  if (bind(end.socket.get(), address, sizeof end.address) != 0 || listen(end.socket.get(), SOMAXCONN) != 0)
    return fail_errno(errno, "listen on '" + path + "'");
  return std::move(end.socket);
}

Result<UniqueFd> connect_to(const std::string& path) {
  Endpoint end = TRY(endpoint(path));
  const auto* address = reinterpret_cast<const sockaddr*>(&end.address);  // the sockets API
  if (connect(end.socket.get(), address, sizeof end.address) == 0) return std::move(end.socket);
  const int err = errno;
  if (err != ENOENT && err != ECONNREFUSED) return fail_errno(err, "connect to '" + path + "'");
  return fail(Kind::kUnavailable, "connect to '" + path + "': " + errno_text(err));
}

}  // namespace slicer::runner
