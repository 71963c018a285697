# `cpack` in a build folder makes a Debian package of what it has built. What it depends on is read from the binaries
# (dpkg-shlibdeps); what is loaded or started only when it is asked for is recommended.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME slicer-cni)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "the slicer-cni developers <slicer-cni@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Networks of microVMs (QEMU, Firecracker, Cloud Hypervisor) by the Container Network Interface: a bridge,
macvtap on the LAN, isolated networks, drop and allow lists; and slicer-run, which boots VMs on them.")
set(CPACK_SET_DESTDIR ON)  # plugins, networks and configuration have places outside the prefix
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "qemu-system-x86 | qemu-system-arm, openssh-client, tar, libip4tc2, libip6tc2")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "iproute2, nftables, mmdebstrap, e2fsprogs, busybox-static, cpio, curl")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(debian ${PROJECT_BINARY_DIR}/debian)
string(JOIN "\n" SLICER_CONFFILES ${SLICER_CNI_CONFDIR}/51-slicer.conflist ${SLICER_NETWORKD_CONFDIR}/00-slicer.network
  ${SLICER_NETWORKMANAGER_CONFDIR}/90-slicer.conf ${SLICER_CONFDIR}/sos/sshd_config)
file(CONFIGURE OUTPUT ${debian}/conffiles CONTENT "${SLICER_CONFFILES}\n" @ONLY)
file(CHMOD ${debian}/conffiles PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${debian}/conffiles ${PROJECT_SOURCE_DIR}/cmake/debian/postinst
  ${PROJECT_SOURCE_DIR}/cmake/debian/postrm)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
include(CPack)
