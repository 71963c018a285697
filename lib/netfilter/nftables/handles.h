#pragma once
// libnftnl's objects as owners. Private to the nftables files.

#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

#include <memory>

namespace slicer::netfilter {

template <auto kFree>
struct NftDeleter {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using TablePtr = std::unique_ptr<nftnl_table, NftDeleter<nftnl_table_free>>;
using ChainPtr = std::unique_ptr<nftnl_chain, NftDeleter<nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, NftDeleter<nftnl_rule_free>>;
using SetPtr = std::unique_ptr<nftnl_set, NftDeleter<nftnl_set_free>>;
using UserDataPtr = std::unique_ptr<nftnl_udata_buf, NftDeleter<nftnl_udata_buf_free>>;

}  // namespace slicer::netfilter
