import OffloadDevice
import RISCV
import Registers

/// A debugger's target that is a device: what it shows of it.
protocol DeviceTarget: DebugTarget {
    /// Looks at the device, which nobody changes meanwhile.
    func look<Result>(_ body: (Device) -> Result) -> Result
}

extension DeviceTarget {
    public func activity(ofHart hart: Int) -> String { look { $0.activity(ofHart: hart) } }

    public func readRegister(_ register: HartRegister, hart: Int) -> UInt32? {
        look { device in
            guard device.harts.indices.contains(hart) else { return nil }
            let hart = device.harts[hart]
            return switch register {
            case .integer(let number): hart[register: number]
            case .pc: hart.pc
            case .csr(let number): hart.readCSR(CSR(rawValue: number))
            case .privilege: UInt32(hart.state.privilege.rawValue)
            }
        }
    }

    public func readMemory(_ address: UInt32, count: Int) -> [UInt8] {
        look { device in
            var bytes: [UInt8] = []
            let end = min(UInt64(address) + UInt64(count), 1 << 32)
            while true {
                let next = UInt64(address) + UInt64(bytes.count)
                guard next < end else { return bytes }
                // Most registers answer whole words only.
                let word = next & ~3
                if let value = device.peek(.firmware, word, size: 4) {
                    for byte in next..<min(word + 4, end) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * (byte - word)))) }
                } else if let value = device.peek(.firmware, next, size: 1) {
                    bytes.append(UInt8(truncatingIfNeeded: value))
                } else {
                    return bytes
                }
            }
        }
    }

    public var memoryMap: [TargetMemory] {
        let memories = look { device in
            device.memoryRegions.map { TargetMemory(address: $0.base, count: $0.size, isReadOnly: $0.isReadOnly) }
        }
        let blocks = DeviceBus.firmware.map.blocks.map {
            TargetMemory(address: $0.base, count: ($0.map.size + 0xfff) & ~0xfff, isReadOnly: false)
        }
        return (memories + blocks).sorted { $0.address < $1.address }
    }
}
