// Register access by memory mapping and by port instructions, for programs that expect real PCI hardware.
//
// A library that is preloaded into a program by `outrigger exec`. It has no calls of its own: it stands before the C library's. A shared
// mapping of a BAR that the emulator cannot map (registers, where every access has to reach the device) becomes memory without any
// permission, and each instruction that touches it is carried out as `pread` and `pwrite` of the BAR's file. After `iopl` or `ioperm` the
// port instructions reach I/O BARs in the same way. What can be mapped is mapped, and costs nothing. x86-64 only.
#pragma once
