# The Debian packages, made by CPack: ./run deb.  One for each component of the installation: surefoot, timed_io with the
# shared library, and dev with what programs are built against.
set (CPACK_GENERATOR DEB)
set (CPACK_PACKAGE_NAME surefoot)
set (CPACK_PACKAGE_VENDOR "Surefoot")
set (CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set (CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # it would be put before each
set (CPACK_COMPONENTS_ALL surefoot timed_io dev)
set (CPACK_DEB_COMPONENT_INSTALL ON)
set (CPACK_PACKAGING_INSTALL_PREFIX /usr)
set (CPACK_SET_DESTDIR ON)
set (CPACK_INSTALL_PREFIX /usr)
set (CPACK_STRIP_FILES ON)
set (CPACK_OUTPUT_FILE_PREFIX ${CMAKE_BINARY_DIR})

set (debian ${CMAKE_SOURCE_DIR}/cmake/debian)
set (SF_DEBIAN_REVISION 1 CACHE STRING "Revision of the Debian package")
set (CPACK_DEBIAN_PACKAGE_RELEASE ${SF_DEBIAN_REVISION})
set (CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set (CPACK_DEBIAN_PACKAGE_MAINTAINER "Surefoot maintainers <maintainers@surefoot.example>")
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_NAME surefoot)
set (CPACK_DEBIAN_TIMED_IO_PACKAGE_NAME libsurefoot-timed-io0)
set (CPACK_DEBIAN_DEV_PACKAGE_NAME surefoot-dev)
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_SECTION admin)
set (CPACK_DEBIAN_TIMED_IO_PACKAGE_SECTION libs)
set (CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set (CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_SHLIBDEPS ON)
set (CPACK_DEBIAN_TIMED_IO_PACKAGE_SHLIBDEPS ON)
set (CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
# nbdkit loads the plugin, no program of ours is linked with it; the rest is for the scripts.
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_DEPENDS "nbdkit (>= 1.32), systemd (>= 250), init-system-helpers (>= 1.54)")
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_RECOMMENDS "kmod")
set (CPACK_DEBIAN_SUREFOOT_PACKAGE_SUGGESTS "nbd-client, bash-completion")
set (CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
     "libsurefoot-timed-io0 (= ${PROJECT_VERSION}-${SF_DEBIAN_REVISION}), liburing-dev")
set (CPACK_DEBIAN_SUREFOOT_DESCRIPTION
"replicated block device that does not wait for its slowest leg
Surefoot writes every request to several legs (files or disks) through
io_uring. When the deadline passes and enough legs have it, the request
succeeds. The late leg is taken out of the in-sync set, durably and before
the answer, its missed extents are remembered, and it is caught up by
itself when it answers again.
.
This package has the nbdkit plugin, the service that runs the volumes of a
machine and attaches them as /dev/nbdN, and surefootctl.")
set (CPACK_DEBIAN_TIMED_IO_DESCRIPTION
"timed I/O over io_uring, shared library
Reads and writes of files and disks with deadlines: a request goes to
several regions, and each is done, late, failed or given up by itself. What
was given up is reported when it ends at last. It is the interface of the
device-mapper RFC of 2006 in user space, and what Surefoot is built on.")
set (CPACK_DEBIAN_DEV_DESCRIPTION
"timed I/O over io_uring, development files
Reads and writes of files and disks with deadlines: see the package
libsurefoot-timed-io0.
.
This package has the library to link with, static and shared, its header, its
manual page timed_io(3) and an example. The headers of Surefoot's own layers
are here to be read, among them the format on disk and the control protocol;
there is no library for them yet.")
set (CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach (script postinst prerm postrm)
  list (APPEND CPACK_DEBIAN_SUREFOOT_PACKAGE_CONTROL_EXTRA ${debian}/${script})
endforeach ()
list (APPEND CPACK_DEBIAN_SUREFOOT_PACKAGE_CONTROL_EXTRA ${debian}/conffiles)
set (CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
     GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# What only the package has.
if (SF_DEBIAN)
  set (changelog ${CMAKE_CURRENT_BINARY_DIR}/changelog.Debian.gz)
  add_custom_command (OUTPUT ${changelog} DEPENDS ${debian}/changelog
    COMMAND gzip -9 -n -c ${debian}/changelog > ${changelog} VERBATIM)
  add_custom_target (debian-changelog ALL DEPENDS ${changelog})
  foreach (component surefoot timed_io dev)
    string (TOUPPER ${component} its)
    install (FILES ${changelog} ${debian}/copyright COMPONENT ${component}
             DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${its}_PACKAGE_NAME})
  endforeach ()
endif ()
include (CPack)
