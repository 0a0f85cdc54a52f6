/// One field of a register value, for people.
public struct DecodedField: Hashable, Sendable {
    public let name: String
    public let value: UInt64
    /// The name of the value, where the register map gives it one.
    public let encoding: String?

    /// `enable=1`, `action=reset`, `count=0x1f4`.
    public var description: String { "\(name)=\(encoding ?? hexadecimal(value))" }
}

extension FieldDescription {
    /// The field's value in a value of its register.
    public func value(in register: UInt64) -> UInt64 { (register >> UInt64(lsb)) & ones(width) }

    public func decode(_ register: UInt64) -> DecodedField {
        let value = value(in: register)
        return DecodedField(name: name, value: value, encoding: encodings.first { $0.value == value }?.name)
    }
}

extension RegisterDescription {
    /// A value taken apart into its fields, from the least significant bit up.
    public func decode(_ value: UInt64) -> [DecodedField] { fields.map { $0.decode(value) } }

    /// The fields that differ between two values, with what they are in each.
    public func changes(from old: UInt64, to new: UInt64) -> [(old: DecodedField, new: DecodedField)] {
        fields.filter { ($0.mask & (old ^ new)) != 0 }.map { ($0.decode(old), $0.decode(new)) }
    }

    /// One line: `enable=1 action=reset`.
    public func describe(_ value: UInt64) -> String { decode(value).map(\.description).joined(separator: " ") }
}

extension RegisterMap {
    public subscript(_ index: RegisterIndex) -> RegisterDescription { registers[index.rawValue] }

    /// The register, and the element of it, whose bytes include this offset.
    public func register(at offset: UInt64) -> (index: RegisterIndex, element: Int)? {
        for (place, register) in registers.enumerated() {
            guard let element = register.element(at: offset) else { continue }
            return (RegisterIndex(rawValue: place), element)
        }
        return nil
    }

    public func window(at offset: UInt64) -> WindowDescription? {
        windows.first { offset >= $0.offset && offset - $0.offset < $0.size }
    }
}

extension RegisterDescription {
    /// The element whose bytes include this offset in the block.
    public func element(at offset: UInt64) -> Int? {
        guard offset >= self.offset else { return nil }
        var rest = offset - self.offset
        var element = 0
        for dimension in dimensions {
            let index = min(rest / dimension.stride, UInt64(dimension.count - 1))
            rest -= index * dimension.stride
            element = element * dimension.count + Int(index)
        }
        return rest < UInt64(width / 8) ? element : nil
    }
}

/// `0x` and the digits; single digits stay decimal, which is the same and easier to read.
func hexadecimal(_ value: UInt64) -> String {
    value < 10 ? String(value) : "0x" + String(value, radix: 16)
}
