/* A folder that a test has made is gone afterwards, with all that is in it. */
#ifndef PGCAIRN_TESTS_REMOVE_TREE_H
#define PGCAIRN_TESTS_REMOVE_TREE_H

#include <ftw.h>
#include <stdio.h>

static inline int remove_tree_entry(const char *path, const struct stat *st, int type,
                                    struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* 0, or -1 with errno. */
static inline int remove_tree(const char *folder)
{
    return nftw(folder, remove_tree_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
