# What is installed beside the programs, and the Debian package: packaging/README.md.
include(GNUInstallDirs)

set(PGCAIRN_PACKAGING ${CMAKE_SOURCE_DIR}/packaging)
set(PGCAIRN_MAN ${CMAKE_BINARY_DIR}/man)
set(PGCAIRN_DEBIAN ${CMAKE_BINARY_DIR}/debian)

add_custom_command(OUTPUT ${PGCAIRN_MAN}/stamp
    COMMAND sh ${PGCAIRN_PACKAGING}/man.sh $<TARGET_FILE:pgcairn> ${PGCAIRN_MAN}
    DEPENDS pgcairn ${PGCAIRN_PACKAGING}/man.sh ${PGCAIRN_PACKAGING}/man/pgcairn-wal.1
    COMMENT "Writing the man pages" VERBATIM)
add_custom_target(man ALL DEPENDS ${PGCAIRN_MAN}/stamp)

install(TARGETS pgcairn pgcairn-wal RUNTIME DESTINATION bin)
install(DIRECTORY ${PGCAIRN_MAN}/ DESTINATION share/man/man1 FILES_MATCHING PATTERN "*.1.gz")
set(completion ${CMAKE_SOURCE_DIR}/contrib/completion)
install(FILES ${completion}/pgcairn.bash DESTINATION share/bash-completion/completions RENAME pgcairn)
install(FILES ${completion}/_pgcairn DESTINATION share/zsh/vendor-completions)
install(FILES ${completion}/pgcairn.fish DESTINATION share/fish/vendor_completions.d)
file(GLOB policies CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/policies/*.yaml
    ${CMAKE_SOURCE_DIR}/policies/*.json ${CMAKE_SOURCE_DIR}/policies/README.md)
install(FILES ${policies} DESTINATION share/doc/pgcairn/examples/policies)
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION share/doc/pgcairn)
install(FILES ${PGCAIRN_PACKAGING}/README.md DESTINATION share/doc/pgcairn RENAME README.Debian)

# What is for a system, not for a prefix of somebody's own.
option(PGCAIRN_SYSTEM "Install units, folders and what else the Debian package needs" OFF)
if(PGCAIRN_SYSTEM)
    set(units ${PGCAIRN_PACKAGING}/systemd)
    install(FILES ${units}/pgcairn.service ${units}/pgcairn-run@.service
        DESTINATION /lib/systemd/system)
    install(FILES ${units}/pgcairn-run@.timer DESTINATION share/doc/pgcairn/examples)
    install(DIRECTORY ${PGCAIRN_PACKAGING}/container ${PGCAIRN_PACKAGING}/kubernetes
        DESTINATION share/doc/pgcairn/examples)
    install(FILES ${units}/pgcairn.tmpfiles DESTINATION lib/tmpfiles.d RENAME pgcairn.conf)
    install(FILES ${PGCAIRN_PACKAGING}/debian/logrotate DESTINATION /etc/logrotate.d
        RENAME pgcairn)
    install(FILES ${PGCAIRN_PACKAGING}/debian/copyright DESTINATION share/doc/pgcairn)
    install(FILES ${PGCAIRN_PACKAGING}/debian/lintian-overrides
        DESTINATION share/lintian/overrides RENAME pgcairn)
    file(MAKE_DIRECTORY ${PGCAIRN_DEBIAN})
    execute_process(COMMAND gzip -9nc ${PGCAIRN_PACKAGING}/debian/changelog
        OUTPUT_FILE ${PGCAIRN_DEBIAN}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        ${PGCAIRN_PACKAGING}/debian/changelog)
    install(FILES ${PGCAIRN_DEBIAN}/changelog.gz DESTINATION share/doc/pgcairn)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pgcairn)
set(CPACK_PACKAGE_VENDOR "the pgcairn developers")
set(CPACK_PACKAGE_CONTACT "the pgcairn developers <maintainers@pgcairn.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "backup, restore and maintenance of PostgreSQL by one policy")
set(CPACK_PACKAGE_DESCRIPTION "One policy file says what is backed up, when, where to and for how long.
pgcairn archives WAL, takes logical dumps and physical snapshots, stores them
compressed in a folder or in S3, prunes them by retention rules, restores them
to any moment, proves by verifications and drills that they can be restored,
and vacuums what needs it.")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, postgresql-client, tzdata, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, logrotate")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(WRITE ${PGCAIRN_DEBIAN}/conffiles "/etc/logrotate.d/pgcairn\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PGCAIRN_DEBIAN}/conffiles
    ${PGCAIRN_PACKAGING}/debian/postinst ${PGCAIRN_PACKAGING}/debian/prerm
    ${PGCAIRN_PACKAGING}/debian/postrm)
include(CPack)
