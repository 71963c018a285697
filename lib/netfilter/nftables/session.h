#pragma once
// One netlink socket to nf_tables: questions and transactions. Private to the nftables files.

#include <cstdint>
#include <functional>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

struct nlmsghdr;

namespace slicer::netfilter {

/// Netlink messages one behind the other; their sequence numbers count from 0.
class MessageBuffer {
 public:
  /// More than any single message of ours without a list: a rule of three address matches takes about 700 bytes.
  static constexpr size_t kMessageRoom = 4096;

  /// A new message of nf_tables (NFT_MSG_*) with NLM_F_REQUEST and `flags`. libnftnl and libmnl append its attributes;
  /// it must be closed before the next one, and is valid until then. `room` is the most bytes that it may take.
  nlmsghdr* open(uint16_t type, uint16_t family, uint16_t flags = 0, size_t room = kMessageRoom);
  /// The same for the frame of a transaction. `generation` makes the kernel refuse it when the ruleset has changed
  /// since.
  void begin_batch(uint32_t generation);
  /// The last message before the end asks for the acknowledgement.
  void end_batch();
  /// Closes the message just opened; returns its sequence number.
  uint32_t close();

  [[nodiscard]] const std::vector<char>& bytes() const { return bytes_; }
  [[nodiscard]] size_t size() const { return used_; }
  [[nodiscard]] uint32_t count() const { return count_; }

 private:
  char* make_room(size_t size);
  std::vector<char> bytes_;
  size_t used_ = 0;
  size_t last_ = 0;
  uint32_t count_ = 0;
};

/// How a question went, one entry for each message in it.
struct Answers {
  std::vector<int> errors = {};  ///< 0 or the errno, by sequence number
  bool interrupted = false;      ///< the ruleset changed during a dump: ask again
};

enum class Commit { kDone, kStale };

class NftSession {
 public:
  static Result<NftSession> open();

  /// Sends all messages of `question` at once and hands every answer to `on_answer` with its question's sequence
  /// number. A dump must be the last message. Errors of single messages are in Answers; permission is kSystem.
  Result<Answers> ask(const MessageBuffer& question, const std::function<void(uint32_t, const nlmsghdr*)>& on_answer);

  /// Sends a transaction, framed by begin_batch() and end_batch(). kStale: the generation is no longer the one it was
  /// made for, and nothing was done. Errors: kSystem, with the kernel's errno.
  Result<Commit> commit(const MessageBuffer& batch);

  /// Ends the session without waiting. After a deletion the kernel lets the last close of any netfilter socket of the
  /// namespace wait for 7 to 24 ms (nft_rcv_nl_event()); a child does it, which holds nothing else of the caller and is
  /// a zombie until that ends. Where no child can be made this is an ordinary close.
  void close_in_child() &&;

 private:
  explicit NftSession(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<void> send(const MessageBuffer& messages);
  Result<void> make_room(size_t size);
  UniqueFd fd_;
};

}  // namespace slicer::netfilter
