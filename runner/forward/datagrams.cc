#include "runner/forward/datagrams.h"

#include <sys/epoll.h>

#include <algorithm>

#include "lib/base/log.h"

namespace slicer::runner {
namespace {

constexpr int kAtOnce = 64;  // then the others have their turn

}  // namespace

Datagrams::Sender::Sender(Datagrams& of, UniqueFd to_guest, const sockaddr_storage& address, socklen_t size)
    : of_(of), guest_(std::move(to_guest)), address_(address), size_(size) {
  of_.loop_.watch(guest_.get(), EPOLLIN, watched_, this);
}

Datagrams::Sender::~Sender() { of_.loop_.watch(guest_.get(), 0, watched_, this); }

void Datagrams::Sender::on_events(uint32_t /*events*/) {
  for (int i = 0; i < kAtOnce; ++i) {
    // An error is an ICMP message of the guest's, which asking takes away. UDP promises nothing.
    const ssize_t count = recv(guest_.get(), of_.room_.data(), of_.room_.size(), 0);
    if (count < 0) return;
    last_ = Clock::now();
    (void)sendto(of_.socket_, of_.room_.data(), static_cast<size_t>(count), 0,
                 reinterpret_cast<const sockaddr*>(&address_), size_);
  }
}

void Datagrams::Sender::send_on(std::span<const char> datagram) {
  last_ = Clock::now();
  // The first may get the error of the one before.
  if (send(guest_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0)
    (void)send(guest_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL);
}

Datagrams::Datagrams(const EventLoop& loop, std::span<char> room, int socket, Open open)
    : loop_(loop), room_(room), socket_(socket), open_(std::move(open)) {
  loop_.watch(socket_, EPOLLIN, watched_, this);
}

Datagrams::~Datagrams() { loop_.watch(socket_, 0, watched_, this); }

void Datagrams::on_events(uint32_t /*events*/) {
  for (int i = 0; i < kAtOnce; ++i) {
    sockaddr_storage from = {};
    socklen_t size = sizeof from;
    const ssize_t count = recvfrom(socket_, room_.data(), room_.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 0) return;
    if (Sender* sender = sender_of(from, size)) sender->send_on({room_.data(), static_cast<size_t>(count)});
  }
}

Datagrams::Sender* Datagrams::sender_of(const sockaddr_storage& address, socklen_t size) {
  const std::string key(reinterpret_cast<const char*>(&address), size);
  if (const auto known = senders_.find(key); known != senders_.end()) return known->second.get();
  Result<UniqueFd> socket = open_();
  if (!socket) {
    log_line(socket.error().message);
    return nullptr;
  }
  if (senders_.size() >= kMaxSenders) forget_oldest();
  return senders_.emplace(key, std::make_unique<Sender>(*this, std::move(*socket), address, size)).first->second.get();
}

void Datagrams::forget_oldest() {
  const auto oldest = std::ranges::min_element(senders_, {}, [](const auto& each) { return each.second->last(); });
  forgotten_.push_back(std::move(oldest->second));
  senders_.erase(oldest);
}

void Datagrams::on_time(Clock::time_point now) {
  forgotten_.clear();
  std::erase_if(senders_, [&](const auto& each) { return now - each.second->last() > kIdleLimit; });
}

}  // namespace slicer::runner
