import RISCV

// The firmware's memory, as people look at it.

extension Device {
    /// Plain memory from a bus address on, up to `count` bytes or to the end of its region: the bytes themselves, whatever ECC says of
    /// them. Empty where there is no memory.
    public func memory(at address: UInt32, count: Int) -> UnsafeRawBufferPointer {
        guard count > 0, let region = core.memory.region(at: address) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        let offset = Int(UInt64(address) - region.base)
        return UnsafeRawBufferPointer(rebasing: region.contents[offset..<min(offset + count, region.contents.count)])
    }
}
