#pragma once
// Private to lib/net: classic BPF with labels.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/net/tc_guard.h"

namespace slicer::net {

/// Appends instructions. Conditional jumps of classic BPF reach 255 instructions, `ja` reaches all: one that must go
/// farther is made to hop over a `ja`, so that programs may be long without counting.
class BpfAssembler {
 public:
  struct Label {
    size_t number = 0;
  };
  Label make_label();
  /// The label stands before the next instruction.
  void place(Label label);

  void load_word(uint32_t offset);
  void load_half(uint32_t offset);
  void load_byte(uint32_t offset);
  /// At X + offset.
  void load_half_at_x(uint32_t offset);
  void load_byte_at_x(uint32_t offset);
  void load_length();    ///< A = the frame's length
  void load_vlan_tag();  ///< A = whether the frame carried a VLAN tag
  void load_constant_x(uint32_t value);
  void load_ip_header_length_x(uint32_t offset);  ///< X = 4 * (byte at offset & 15)
  void and_with(uint32_t mask);
  void add(uint32_t value);
  void multiply(uint32_t value);
  void add_x();
  void subtract_x();
  void copy_to_x();
  void copy_from_x();
  void store(uint32_t cell);  ///< M[cell] = A
  void load_stored(uint32_t cell);

  void jump(Label to);
  void jump_if_equal(uint32_t value, Label to);
  void jump_unless_equal(uint32_t value, Label to);
  void jump_if_below(uint32_t value, Label to);
  void jump_if_below_x(Label to);
  void jump_if_any_bit(uint32_t mask, Label to);
  void give(uint32_t verdict);

  /// With all labels resolved; every label that was used has been placed.
  [[nodiscard]] std::vector<BpfInstruction> finish() const;

 private:
  enum class Branch : uint8_t { kNone, kAlways, kIfTrue, kIfFalse };
  struct Step {
    uint16_t code = 0;
    uint32_t k = 0;
    Branch branch = Branch::kNone;
    size_t label = 0;  ///< where the branch goes
  };
  void emit(uint16_t code, uint32_t k) { steps_.push_back({.code = code, .k = k}); }
  void emit(uint16_t code, uint32_t k, Branch branch, Label to) {
    steps_.push_back({.code = code, .k = k, .branch = branch, .label = to.number});
  }
  /// Where each step (and the end) stands when those of `far` take two instructions.
  [[nodiscard]] std::vector<size_t> places(const std::vector<bool>& far) const;

  std::vector<Step> steps_;
  std::vector<size_t> labels_;  ///< the step before which each stands
};

}  // namespace slicer::net
