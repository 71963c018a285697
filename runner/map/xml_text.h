#pragma once
// Text as XML takes it.

#include <string>
#include <string_view>

namespace slicer::runner {

/// `text` for an element's content or an attribute's value in double quotes: the five signs escaped; what is no UTF-8,
/// and control characters, which XML 1.0 (section 2.2) does not allow even escaped, become "?".
std::string xml_text(std::string_view text);

}  // namespace slicer::runner
