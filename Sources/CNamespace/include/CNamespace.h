// The Linux calls that Swift's Glibc module does not show.
#pragma once

// unshare(2): a mount namespace of its own, and a user namespace too if `user` is not 0. 0, or -1 with errno.
int outrigger_unshare(int user);

// mount(2).
int outrigger_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data);

// Whether a folder is in a file system of huge pages.
int outrigger_has_huge_pages(const char *folder);

extern const unsigned long outrigger_bind;        // MS_BIND
extern const unsigned long outrigger_bind_tree;   // MS_BIND | MS_REC
extern const unsigned long outrigger_private_tree; // MS_PRIVATE | MS_REC
