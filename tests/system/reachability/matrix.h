#pragma once
// The reachability matrix: rows are what a VM may try to reach (and who may try to reach it), columns are networks with
// lists. One world for all: a column only says how its VM is made and what is expected.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/reach.h"

namespace slicer::test::reachability {

/// A VM that stands for its column.
class Subject {
 public:
  Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  virtual ~Subject() = default;
  /// Of the guest's stack.
  [[nodiscard]] virtual std::string netns() const = 0;
  /// Family 4 or 6; empty: it has none.
  [[nodiscard]] virtual std::string ip(int family) const = 0;
  [[nodiscard]] virtual std::string gateway(int family) const = 0;
  /// A namespace on the VM's gateway, from where connections to the VM can be opened (a port forward's); the host's.
  [[nodiscard]] virtual std::string gateway_netns() const { return Host::netns(); }
};

/// The number of the VM of another group: on a network of its own, made by the same plugin, without lists.
inline constexpr int kOtherGroup = 3;

/// Makes the n-th VM (1 or 2) of the column's network with the column's lists, or that of another group.
using MakeSubject = std::function<std::unique_ptr<Subject>(const Json& lists, int number)>;

struct Column {
  std::string name = {};
  Json lists = Json::object();
  MakeSubject make = {};
  /// Row -> TCP, UDP and ICMP: "ooo" all open, "xxx" all closed, "---" not applicable.
  std::map<std::string, std::string> cells = {};
};

/// All rows, in the order of the table.
const std::vector<std::string>& rows();

/// Checks every cell of a column in a host of its own, with bridge-nf-call-* as given; a cell that is closed is tried
/// again while a connection in the other direction is open, where there can be one. Returns what was seen, by row.
std::map<std::string, std::string> check_column(const Column& column, const std::string& bridge_nf_call);

const std::vector<Column>& bridge_columns();
const std::vector<Column>& isolated_columns();

/// The table of several columns as Markdown, for the docs.
std::string markdown(const std::vector<Column>& columns);

}  // namespace slicer::test::reachability
