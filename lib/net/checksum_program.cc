#include "lib/net/checksum_program.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "lib/net/tc_guard.h"

namespace slicer::net {
namespace {

constexpr uint8_t kToBigEndian = BPF_ALU | BPF_END | BPF_TO_BE;
constexpr uint8_t kContext = BPF_REG_6;   ///< the frame; survives calls, as 7 and 8 do
constexpr uint8_t kOffset = BPF_REG_7;    ///< where the header is that is looked at
constexpr uint8_t kProtocol = BPF_REG_8;  ///< which one it is
constexpr int16_t kStack = -16;           ///< of 16 bytes, below the frame pointer
constexpr int32_t kEtherHeader = 14;
constexpr int32_t kIpv6Header = 40;
/// As the guard has it (guard_program.cc).
constexpr int kExtensionHeadersMax = 2;
constexpr std::array<int32_t, 3> kOptionHeaders{IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS};
/// Whose checksums no guest's system leaves to others.
constexpr std::array<int32_t, 3> kCountedByTheGuest{IPPROTO_ICMP, IPPROTO_IGMP, IPPROTO_ICMPV6};

/// eBPF with labels (Documentation/bpf/standardization/instruction-set.rst).
class Program {
 public:
  using Label = size_t;
  Label make_label() {
    labels_.push_back(0);
    return labels_.size() - 1;
  }
  void place(Label label) { labels_[label] = code_.size(); }

  void set(uint8_t to, int32_t value) { emit(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
  void copy(uint8_t to, uint8_t from) { emit(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void add(uint8_t to, int32_t value) { emit(BPF_ALU64 | BPF_ADD, to, 0, 0, value); }
  void add_register(uint8_t to, uint8_t from) { emit(BPF_ALU64 | BPF_ADD | BPF_X, to, from, 0, 0); }
  void mask(uint8_t to, int32_t value) { emit(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, value); }
  void shift_left(uint8_t to, int32_t bits) { emit(BPF_ALU64 | BPF_LSH | BPF_K, to, 0, 0, bits); }
  /// From the stack's bytes, numbers in network order.
  void take_byte(uint8_t to, int16_t at) { load(BPF_B, to, at); }
  void take_half(uint8_t to, int16_t at) {
    load(BPF_H, to, at);
    emit(kToBigEndian, to, 0, 0, 16);
  }
  /// R0 = helper(frame, …); R2 to R5 are set.
  void call(int32_t helper) {
    copy(BPF_REG_1, kContext);
    emit(BPF_JMP | BPF_CALL, 0, 0, 0, helper);
  }
  void jump(Label to) { branch(BPF_JMP | BPF_JA, 0, 0, to); }
  void jump_if_equal(uint8_t what, int32_t value, Label to) { branch(BPF_JMP | BPF_JEQ | BPF_K, what, value, to); }
  void jump_unless_equal(uint8_t what, int32_t value, Label to) { branch(BPF_JMP | BPF_JNE | BPF_K, what, value, to); }
  void jump_if_negative(uint8_t what, Label to) { branch(BPF_JMP | BPF_JSLT | BPF_K, what, 0, to); }
  void jump_unless_negative(uint8_t what, Label to) { branch(BPF_JMP | BPF_JSGE | BPF_K, what, 0, to); }
  void jump_if_below(uint8_t what, int32_t value, Label to) { branch(BPF_JMP | BPF_JLT | BPF_K, what, value, to); }
  void give(uint32_t verdict) {
    set(BPF_REG_0, static_cast<int32_t>(verdict));
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  /// `count` bytes of the frame from `at` on, or from where the register says, to the stack; else on to `otherwise`.
  void read_frame(int32_t at, int32_t count, Label otherwise) {
    set(BPF_REG_2, at);
    read(count, otherwise);
  }
  void read_frame_at_register(uint8_t at, int32_t count, Label otherwise) {
    copy(BPF_REG_2, at);
    read(count, otherwise);
  }

  std::vector<bpf_insn> finish() && {
    for (const auto& [at, label] : branches_)
      code_[at].off = static_cast<int16_t>(static_cast<int64_t>(labels_[label]) - static_cast<int64_t>(at) - 1);
    return std::move(code_);
  }

 private:
  void emit(int code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
    bpf_insn step = {};
    step.code = static_cast<uint8_t>(code);
    step.dst_reg = to & 0xf;
    step.src_reg = from & 0xf;
    step.off = offset;
    step.imm = value;
    code_.push_back(step);
  }
  void branch(int code, uint8_t what, int32_t value, Label to) {
    branches_.emplace_back(code_.size(), to);
    emit(code, what, 0, 0, value);
  }
  void load(int size, uint8_t to, int16_t at) {
    emit(BPF_LDX | BPF_MEM | size, to, BPF_REG_10, static_cast<int16_t>(kStack + at), 0);
  }
  void read(int32_t count, Label otherwise) {
    copy(BPF_REG_3, BPF_REG_10);
    add(BPF_REG_3, kStack);
    set(BPF_REG_4, count);
    call(BPF_FUNC_skb_load_bytes);
    jump_unless_equal(BPF_REG_0, 0, otherwise);
  }

  std::vector<bpf_insn> code_ = {};
  std::vector<size_t> labels_ = {};
  std::vector<std::pair<size_t, Label>> branches_ = {};
};

class ChecksumProgram {
 public:
  ChecksumProgram() : pass_(p_.make_label()), drop_(p_.make_label()), transport_(p_.make_label()) {}

  std::vector<bpf_insn> build() && {
    const Program::Label unfinished = p_.make_label();
    p_.copy(kContext, BPF_REG_1);
    pass_what_has_its_checksum(unfinished);
    p_.place(pass_), p_.give(kGuardPass);
    p_.place(drop_), p_.give(kGuardDrop);
    p_.place(unfinished);
    // A checksum of the whole that a network card has counted, on its way through a container's bridge.
    p_.set(BPF_REG_2, 0);
    p_.call(BPF_FUNC_csum_update);
    p_.jump_unless_negative(BPF_REG_0, pass_);
    find_transport();
    p_.place(transport_);
    judge_transport();
    return std::move(p_).finish();
  }

 private:
  void level(int32_t what) {
    p_.set(BPF_REG_2, what);
    p_.call(BPF_FUNC_csum_level);
  }

  /// CHECKSUM_UNNECESSARY has a level; CHECKSUM_NONE has one after it was raised, and loses it again.
  void pass_what_has_its_checksum(Program::Label unfinished) {
    level(BPF_CSUM_LEVEL_QUERY);
    p_.jump_unless_negative(BPF_REG_0, pass_);
    level(BPF_CSUM_LEVEL_INC);
    level(BPF_CSUM_LEVEL_QUERY);
    p_.jump_if_negative(BPF_REG_0, unfinished);
    level(BPF_CSUM_LEVEL_DEC);
  }

  /// Only IP has a checksum that may be left to others, and not in fragments.
  void find_transport() {
    const Program::Label ipv4 = p_.make_label(), ipv6 = p_.make_label();
    p_.read_frame(kEtherHeader - 2, 2, drop_);
    p_.take_half(BPF_REG_0, 0);
    p_.jump_if_equal(BPF_REG_0, ETH_P_IP, ipv4);
    p_.jump_if_equal(BPF_REG_0, ETH_P_IPV6, ipv6);
    p_.jump(drop_);
    p_.place(ipv4);
    p_.read_frame(kEtherHeader, 10, drop_);
    p_.take_half(BPF_REG_0, 6);
    p_.mask(BPF_REG_0, 0x3fff);
    p_.jump_unless_equal(BPF_REG_0, 0, drop_);
    p_.take_byte(kProtocol, 9);
    p_.take_byte(kOffset, 0);
    p_.mask(kOffset, 0xf);
    p_.shift_left(kOffset, 2);
    p_.jump_if_below(kOffset, 20, drop_);
    p_.add(kOffset, kEtherHeader);
    p_.jump(transport_);
    p_.place(ipv6);
    p_.read_frame(kEtherHeader + 6, 1, drop_);
    p_.take_byte(kProtocol, 0);
    p_.set(kOffset, kEtherHeader + kIpv6Header);
    for (int i = 0; i < kExtensionHeadersMax; ++i) skip_extension_header();
    for (const int32_t more : kOptionHeaders) p_.jump_if_equal(kProtocol, more, drop_);
    p_.jump_if_equal(kProtocol, IPPROTO_FRAGMENT, drop_);
    p_.jump_if_equal(kProtocol, IPPROTO_AH, drop_);
  }

  /// RFC 8200, section 4: next header, length without the first eight bytes. RFC 4302: in words, less two.
  void skip_extension_header() {
    const Program::Label options = p_.make_label(), authentication = p_.make_label(), next = p_.make_label();
    for (const int32_t type : kOptionHeaders) p_.jump_if_equal(kProtocol, type, options);
    p_.jump_if_equal(kProtocol, IPPROTO_AH, authentication);
    p_.jump_if_equal(kProtocol, IPPROTO_FRAGMENT, drop_);
    p_.jump(transport_);
    p_.place(options), skip(1, 3, next);
    p_.place(authentication), skip(2, 2, next);
    p_.place(next);
  }
  void skip(int32_t extra, int32_t shift, Program::Label next) {
    p_.read_frame_at_register(kOffset, 2, drop_);
    p_.take_byte(kProtocol, 0);
    p_.take_byte(BPF_REG_0, 1);
    p_.add(BPF_REG_0, extra);
    p_.shift_left(BPF_REG_0, shift);
    p_.add_register(kOffset, BPF_REG_0);
    p_.jump(next);
  }

  void judge_transport() {
    for (const int32_t protocol : kCountedByTheGuest) p_.jump_if_equal(kProtocol, protocol, drop_);
    p_.jump(pass_);
  }

  Program p_;
  Program::Label pass_, drop_, transport_;
};

}  // namespace

std::optional<UniqueFd> load_checksum_program() {
  const std::vector<bpf_insn> program = ChecksumProgram().build();
  bpf_attr wanted = {};
  wanted.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  wanted.insn_cnt = static_cast<uint32_t>(program.size());
  wanted.insns = reinterpret_cast<uintptr_t>(program.data());
  static constexpr char kLicense[] = "MIT";
  wanted.license = reinterpret_cast<uintptr_t>(&kLicense[0]);
  UniqueFd loaded(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &wanted, sizeof(wanted))));
  if (!loaded.valid()) return std::nullopt;
  return loaded;
}

}  // namespace slicer::net
