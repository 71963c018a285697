#include <doctest/doctest.h>

#include "runner/sos/accounts.h"
#include "runner/sos/console_sshd.h"

namespace slicer::runner {

TEST_CASE("sos: an account for each VM, and none of the host's but sshd's own") {
  const std::string host =
      "root:x:0:0:root:/root:/bin/bash\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\nuser:x:1000:";
  CHECK(accounts_text({"demo-1", "root", "sos", "sshd"}, host).value() ==
        "sos:*:0:0:serial consoles:/:/bin/sh\n"
        "demo-1:*:0:0:console of this VM:/:/bin/sh\n"
        "root:*:0:0:console of this VM:/:/bin/sh\n"
        "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n");
  CHECK(accounts_text({}, "root:x:0:0:root:/root:/bin/bash\nsshd2:x:1:1::/:/\n").error().kind == Kind::kNotFound);
}

TEST_CASE("sos: no configuration whose words would be stronger than the command line's") {
  CHECK(check_sshd_config(""));
  CHECK(check_sshd_config("# Match all\nForceCommand none\n  #Include x\nMatchless yes\nBanner Match"));
  CHECK(check_sshd_config("PrintMotd no\nMatch all\n").error().message.starts_with("line 2: "));
  for (const char* line : {"match all", "\tMATCH User x", " Match\tall", "Match=all", "\"Match\" all", "=Match all",
                           "Match\"all\"", "Include /x", "include=/x", "x y\r\n Match all"})
    CHECK_FALSE(check_sshd_config(line));
}

TEST_CASE("sos: which VM a session is for") {
  CHECK(vm_of_session("demo-1", "").value() == "demo-1");
  CHECK(vm_of_session("sos", "demo-1").value() == "demo-1");
  CHECK(vm_of_session("sos", "").value().empty());
  for (const char* name : {"../demo-1", "demo-1; id", "-x", "demo 1", "Demo", "demo-1\n"}) {
    CHECK_FALSE(vm_of_session("sos", name));
    CHECK_FALSE(vm_of_session(name, ""));
  }
  CHECK_FALSE(vm_of_session("demo-1", "demo-2"));
}

}  // namespace slicer::runner
