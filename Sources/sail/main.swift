print("sail")
