/// Copies bytes that others read or write meanwhile.
///
/// A value of two, four or eight bytes moves at once, as drivers store and expect it (virtio 1.2 section 2.7.13.3.1: the index of a ring).
/// The C library's copy doesn't promise that: of two bytes it may read the first one twice, and so mix the old half of an index with the
/// new one. Optimised code has one instruction for each; without optimisation a load of two bytes is the C library's copy.
@inlinable
public func copyShared(from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int) {
    switch count {
    case 2: target.storeBytes(of: source.loadUnaligned(as: UInt16.self), as: UInt16.self)
    case 4: target.storeBytes(of: source.loadUnaligned(as: UInt32.self), as: UInt32.self)
    case 8: target.storeBytes(of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
    default: target.copyMemory(from: source, byteCount: count)
    }
}
