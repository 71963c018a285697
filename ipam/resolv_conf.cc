#include "ipam/resolv_conf.h"

#include <string>
#include <vector>

namespace slicer::ipam {
namespace {

std::vector<std::string> words_of(std::string_view line) {
  constexpr std::string_view kBlank = " \t\r\v\f";
  std::vector<std::string> words;
  for (size_t at = line.find_first_not_of(kBlank); at != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlank, at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = line.find_first_not_of(kBlank, end);
  }
  return words;
}

void take_line(cni::Dns& dns, const std::vector<std::string>& words) {
  if (words.size() < 2) return;
  const auto append = [&](std::vector<std::string>& list) { list.insert(list.end(), words.begin() + 1, words.end()); };
  if (words[0] == "nameserver") dns.nameservers.push_back(words[1]);
  if (words[0] == "domain") dns.domain = words[1];
  if (words[0] == "search") append(dns.search);
  if (words[0] == "options") append(dns.options);
}

}  // namespace

cni::Dns parse_resolv_conf(std::string_view text) {
  cni::Dns dns;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    take_line(dns, words_of(text.substr(0, end)));  // a comment's first word is none of ours
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return dns;
}

}  // namespace slicer::ipam
