/// Memory that is given out once, while the firmware starts, and never taken back: all that it needs besides its stack.
///
/// Tables live here, and not in an InlineArray of the value they belong to, because the compiler copies such an array as a whole when
/// one element is read.
public struct Arena {
    private var rest: UnsafeMutableRawBufferPointer

    public init(_ memory: UnsafeMutableRawBufferPointer) { rest = memory }

    /// A table of equal elements. Traps if the arena is too small, which a start of the firmware shows at once.
    public mutating func table<Element: BitwiseCopyable>(of count: Int, repeating element: Element) -> Table<Element> {
        let padding = (0 &- Int(bitPattern: rest.baseAddress)) & (MemoryLayout<Element>.alignment &- 1)
        let bytes = padding &+ count &* MemoryLayout<Element>.stride
        precondition(bytes <= rest.count)
        let elements = (rest.baseAddress! + padding).bindMemory(to: Element.self, capacity: count)
        elements.initialize(repeating: element, count: count)
        rest = UnsafeMutableRawBufferPointer(rebasing: rest[bytes...])
        return Table(elements, count)
    }
}

/// A fixed number of elements in an arena.
public struct Table<Element: BitwiseCopyable> {
    private let elements: UnsafeMutablePointer<Element>
    public let count: Int

    fileprivate init(_ elements: UnsafeMutablePointer<Element>, _ count: Int) { self.elements = elements; self.count = count }

    /// The index is checked.
    public subscript(_ index: Int) -> Element {
        @inline(__always) get { elements[checked(index)] }
        @inline(__always) nonmutating set { elements[checked(index)] = newValue }
        @inline(__always) nonmutating _modify { yield &elements[checked(index)] }
    }

    /// The elements of part number `part` of parts of equal size, for loops that can't afford a check for each element. The part itself
    /// is checked.
    @inline(__always) public func part(_ part: Int, of size: Int) -> UnsafeMutablePointer<Element> {
        precondition(part >= 0 && (part &+ 1) &* size <= count)
        return elements + part &* size
    }

    @inline(__always) private func checked(_ index: Int) -> Int {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
        return index
    }
}
